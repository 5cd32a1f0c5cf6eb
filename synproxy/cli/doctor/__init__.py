"""``synproxy doctor``: one module per kind of check, ``examination`` runs them all."""
