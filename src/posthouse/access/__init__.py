"""Who may use the data plane: keys, principals, scopes and limits."""
