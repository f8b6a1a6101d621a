"""How commands are carried out: gathered into groups, decided by the domain, stored in one transaction."""
