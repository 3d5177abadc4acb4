"""The auditor's queries: each selects what breaks an invariant, as `fault`.

What the invariants mean is in `billing.audit`. `:reasons` are the listed
reasons for a void.
"""

from typing import Final

QUERIES: Final[tuple[tuple[str, str], ...]] = (
    (
        "I1",
        """
        SELECT 'transfer ' || transfer_id || ': ' || sum(amount) AS fault
        FROM entries
        GROUP BY transfer_id HAVING sum(amount) <> 0
        """,
    ),
    (
        "I1",
        """
        SELECT 'entry of no transfer ' || e.transfer_id AS fault
        FROM entries e
        LEFT JOIN transfers t
            ON t.id = e.transfer_id
        WHERE t.id IS NULL
        """,
    ),
    (
        "I1",
        """
        SELECT 'transfer ' || t.id || ': ' || t.kind || ' without entries' AS
            fault
        FROM transfers t
        LEFT JOIN entries e
            ON e.transfer_id = t.id
        WHERE t.kind NOT IN ('settle', 'void')
            AND e.transfer_id IS NULL
        """,
    ),
    (
        "I2",
        """
        SELECT 'account ' || a.id || ': ' || a.balance || ', entries ' ||
            coalesce(s.total, 0) AS fault
        FROM accounts a
        LEFT JOIN (SELECT account_id, sum(amount) AS total
            FROM entries
            GROUP BY account_id) s
            ON s.account_id = a.id
        WHERE a.balance IS NOT NULL
            AND a.balance <> coalesce(s.total, 0)
        """,
    ),
    (
        "I2",
        """
        SELECT 'entry on no account ' || e.account_id AS fault
        FROM (SELECT DISTINCT account_id
            FROM entries) e
        LEFT JOIN accounts a
            ON a.id = e.account_id
        WHERE a.id IS NULL
        """,
    ),
    (
        "I3",
        """
        SELECT 'call ' || reference || ': ended ' || count(*) || ' times' AS
            fault
        FROM transfers
        WHERE kind IN ('settle', 'void')
        GROUP BY reference HAVING count(*) > 1
        """,
    ),
    (
        "I3",
        """
        SELECT 'transfer ' || t.id || ': no record of its call' AS fault
        FROM transfers t
        LEFT JOIN calls c
            ON c.seq = t.id
        WHERE t.kind IN ('settle', 'void')
            AND (c.seq IS NULL
                OR t.reference IS NULL
                OR c.id <> t.reference)
        """,
    ),
    (
        "I3",
        """
        SELECT 'call ' || c.id || ': neither settled nor void' AS fault
        FROM calls c
        LEFT JOIN transfers t
            ON t.id = c.seq
            AND t.kind IN ('settle', 'void')
        WHERE t.id IS NULL
        """,
    ),
    (
        "I4",
        """
        SELECT 'account ' || id || ': ' || balance AS fault
        FROM accounts
        WHERE balance < 0
            AND credit_line IS NOT NULL
            AND balance < -credit_line
        """,
    ),
    (
        "I4",
        """
        SELECT 'lease ' || l.account_id || ': returned with ' || a.balance AS
            fault
        FROM leases l
        JOIN accounts a
            ON a.id = l.account_id
        WHERE l.state = 'returned'
            AND a.balance <> 0
        """,
    ),
    (
        "I4",
        """
        SELECT 'lease ' || l.account_id || ': its journal is gone' AS fault
        FROM leases l
        LEFT JOIN journals j
            ON j.id = l.owner
            AND j.state = 'open'
        WHERE l.state = 'open'
            AND j.id IS NULL
        """,
    ),
    (
        "I5",
        """
        SELECT 'call ' || t.reference || ': charged ' || e.amount || ', held '
            || t.held || ', excess ' || t.excess AS fault
        FROM transfers t
        JOIN entries e
            ON e.transfer_id = t.id
            AND e.account_id = 'revenue'
        WHERE t.kind = 'settle'
            AND (e.amount < 0
                OR t.excess < 0
                OR e.amount > t.held + t.excess)
        """,
    ),
    (
        "I5",
        """
        SELECT 'transfer ' || id || ': excess without its reason' AS fault
        FROM transfers
        WHERE excess <> 0
            AND reason NOT IN ('above_hold', 'overrun')
        """,
    ),
    (
        "I5",
        """
        SELECT 'transfer ' || t.id || ': the house paid unsaid' AS fault
        FROM transfers t
        JOIN entries e
            ON e.transfer_id = t.id
        WHERE e.account_id = 'overrun'
            AND (t.reason <> 'overrun'
                OR e.amount > 0)
        """,
    ),
    (
        "I6",
        """
        SELECT 'reference ' || reference || ': ' || count(*) || ' times' AS
            fault
        FROM transfers
        WHERE reference IS NOT NULL
        GROUP BY reference HAVING count(*) > 1
        """,
    ),
    (
        "I6",
        """
        SELECT 'call ' || id || ': recorded ' || count(*) || ' times' AS fault
        FROM calls
        GROUP BY id HAVING count(*) > 1
        """,
    ),
    (
        "I6",
        """
        SELECT 'transfer ' || id || ': a ' || kind || ' without an id' AS
            fault
        FROM transfers
        WHERE reference IS NULL
            AND kind NOT IN ('draw', 'return')
        """,
    ),
    (
        "I7",
        """
        SELECT 'call ' || c.id || ': priced ' || c.price || ', charged ' ||
            coalesce(e.amount, 0) AS fault
        FROM calls c
        JOIN transfers t
            ON t.id = c.seq
        LEFT JOIN entries e
            ON e.transfer_id = t.id
            AND e.account_id = 'revenue'
        WHERE c.price <> coalesce(e.amount, 0)
        """,
    ),
    (
        "I7",
        """
        SELECT 'call ' || c.id || ': served and void' AS fault
        FROM calls c
        JOIN transfers t
            ON t.id = c.seq
        WHERE c.outcome = 'served'
            AND t.kind = 'void'
        """,
    ),
    (
        "I7",
        """
        SELECT 'call ' || reference || ': void for ' || reason AS fault
        FROM transfers
        WHERE kind = 'void'
            AND reason NOT IN :reasons
        """,
    ),
    (
        "I8",
        """
        SELECT 'account ' || a.id || ': its lines say ' || coalesce(s.total,
            0) || ', it has ' || (a.balance + coalesce(d.drawn, 0)) AS fault
        FROM accounts a
        LEFT JOIN (SELECT t.account_id, sum(e.amount) AS total
            FROM entries e
            JOIN transfers t
                ON t.id = e.transfer_id
            JOIN accounts p
                ON p.id = e.account_id
                AND p.kind <> 'house'
            GROUP BY t.account_id) s
            ON s.account_id = a.id
        LEFT JOIN (SELECT l.available_id, sum(b.balance) AS drawn
            FROM leases l
            JOIN accounts b
                ON b.id = l.account_id
            GROUP BY l.available_id) d
            ON d.available_id = a.id
        WHERE a.kind = 'available'
            AND coalesce(s.total, 0) <> a.balance + coalesce(d.drawn, 0)
        """,
    ),
    (
        "I8",
        """
        SELECT 'transfer ' || t.id || ': not among those of ' || t.account_id
            AS fault
        FROM transfers t
        LEFT JOIN run_transfers r
            ON r.run = (SELECT min(up_to)
                FROM runs
                WHERE up_to >= t.id)
            AND r.account_id = t.account_id
            AND r.transfer_id = t.id
        WHERE r.run IS NULL
            AND t.id <= (SELECT max(up_to)
                FROM runs)
        """,
    ),
    (
        "I8",
        """
        SELECT 'transfer ' || r.transfer_id || ': wrongly among those of ' ||
            r.account_id AS fault
        FROM run_transfers r
        LEFT JOIN transfers t
            ON t.id = r.transfer_id
            AND t.account_id = r.account_id
        WHERE t.id IS NULL
            OR r.run <> coalesce((SELECT min(up_to)
                FROM runs
                WHERE up_to >= t.id), 0)
        """,
    ),
    (
        "I8",
        """
        SELECT 'call ' || c.id || ': not among those of ' || c.key_id AS fault
        FROM calls c
        LEFT JOIN run_calls r
            ON r.run = (SELECT min(up_to)
                FROM runs
                WHERE up_to >= c.seq)
            AND r.key_id = c.key_id
            AND r.seq = c.seq
        WHERE r.run IS NULL
            AND c.seq <= (SELECT max(up_to)
                FROM runs)
        """,
    ),
    (
        "I8",
        """
        SELECT 'call number ' || r.seq || ': wrongly among those of ' ||
            r.key_id AS fault
        FROM run_calls r
        LEFT JOIN calls c
            ON c.seq = r.seq
            AND c.key_id = r.key_id
        WHERE c.seq IS NULL
            OR r.run <> coalesce((SELECT min(up_to)
                FROM runs
                WHERE up_to >= c.seq), 0)
        """,
    ),
    (
        "I9",
        """
        SELECT 'call ' || t.reference || ': version ' || t.price_version || ',
            counted by ' || c.usage_source || ', usage ' || c.usage AS fault
        FROM transfers t
        JOIN entries e
            ON e.transfer_id = t.id
            AND e.account_id = 'revenue'
        JOIN calls c
            ON c.seq = t.id
        WHERE t.kind = 'settle'
            AND (t.price_version = ''
                OR c.price_version <> t.price_version
                OR c.usage_source NOT IN
                    ('provider', 'measured', 'estimated', 'recovered')
                OR (c.usage = '{}'
                    AND c.usage_source <> 'recovered'))
        """,
    ),
)
