"""An application that is started by vault-exec: it says what it sees."""

import os

print("the application runs as process", os.getpid())
print("DB_USER is", os.environ["DB_USER"])
print("DB_PASSWORD has", len(os.environ["DB_PASSWORD"]), "characters")
print("VAULT_* variables that it sees:", [name for name in os.environ if name.startswith("VAULT_")])
