-- Version 2: what the last revisions changed, for those who follow the table. `changes` is what log.rs makes of them, `start` how
-- many bytes all rows before this one had. Rows leave at the old end; no row means that nobody can follow from there.

CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    start INTEGER NOT NULL,
    changes BLOB NOT NULL
) STRICT;
