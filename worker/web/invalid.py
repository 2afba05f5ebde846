"""A value that is refused by an endpoint itself, apart from FastAPI: commands judge the same values."""

from pydantic import BaseModel, Field

from worker.errors import RequestRefused


class FieldProblem(BaseModel):
    """What is wrong with one field. The value sent is never repeated."""

    field: str = Field(examples=["contact"])
    message: str = Field(examples=["precisa ter de 1 a 64 caracteres"])


class InvalidField(RequestRefused):
    """A value that only an endpoint can judge (a moment, a cursor): `dados_invalidos`, naming the field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__("dados_invalidos")
        self.problem = FieldProblem(field=field, message=message)
