"""The catalogue: setores, motivos, departamentos, their spellings, and when people attend.

catalog = Catalog.load()
catalog.setor("administracao")  # "ADMINISTRAÇÃO"
"""

from worker.catalog.catalog import Catalog, Spellings, fold, schemas_dir

__all__ = ["Catalog", "Spellings", "fold", "schemas_dir"]
