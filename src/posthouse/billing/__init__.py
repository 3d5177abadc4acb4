"""How much: prices, usage, holds, leases, the journal, the ledger, the audit."""
