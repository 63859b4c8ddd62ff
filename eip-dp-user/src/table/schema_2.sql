-- Version 2. The log: what the last revisions changed, for those who follow the table. `changes` is what log.rs makes of them, `start` how
-- many bytes all rows before this one had. Rows leave at the old end; no row means that nobody can follow from there.

CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    start INTEGER NOT NULL,
    changes BLOB NOT NULL
) STRICT;

-- All EIPs of an ENI are of one mode: to know that of one is enough, and an ENI may have many.
DROP TRIGGER association_cut_through;
CREATE TRIGGER association_cut_through BEFORE INSERT ON association
WHEN (SELECT mode FROM association WHERE eni = new.eni LIMIT 1) <> new.mode
    OR (
        new.mode = 'cut-through'
        AND EXISTS (
            SELECT 1 FROM association AS other
            WHERE other.eni = new.eni AND substr(other.private_ip, 1, 1) = substr(new.private_ip, 1, 1)
        )
    )
BEGIN
    SELECT raise(ABORT, 'a cut-through EIP stands alone on its ENI');
END;
