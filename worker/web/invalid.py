"""Invalid values that FastAPI does not check, because commands check the same values."""

from pydantic import BaseModel, Field

from worker.errors import RequestRefused


class FieldProblem(BaseModel):
    """What is wrong with one field. The value sent is never repeated."""

    field: str = Field(examples=["contact"])
    message: str = Field(examples=["precisa ter de 1 a 64 caracteres"])


class InvalidField(RequestRefused):
    """An invalid time or cursor: answered with `dados_invalidos` and the field's name."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("dados_invalidos")
        self.problem = FieldProblem(field=field, message=message)
