-- Version 1 of the association table. Addresses are blobs of 4 or 6 (the family) and the address's bytes, so that they
-- sort by family and value; times are microseconds since 1970. References are checked at the end of a command.

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL CHECK (revision >= 0)
) STRICT;
INSERT INTO meta VALUES (1, 0);

CREATE TABLE pool (
    first BLOB NOT NULL CHECK (length(first) IN (5, 17)),
    last BLOB NOT NULL CHECK (length(last) = length(first) AND last >= first),
    prefix INTEGER NOT NULL CHECK (prefix BETWEEN 0 AND 128),
    gateway TEXT,
    reserve TEXT NOT NULL,
    PRIMARY KEY (first, prefix)
) STRICT, WITHOUT ROWID;

CREATE TABLE vpc (
    id TEXT PRIMARY KEY NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    gateway BLOB CHECK (length(gateway) IN (5, 17)),
    vni INTEGER CHECK (vni BETWEEN 1 AND 16777215)
) STRICT, WITHOUT ROWID;

CREATE TABLE vpc_cidr (
    vpc TEXT NOT NULL REFERENCES vpc DEFERRABLE INITIALLY DEFERRED,
    position INTEGER NOT NULL,
    first BLOB NOT NULL CHECK (length(first) IN (5, 17)),
    last BLOB NOT NULL CHECK (length(last) = length(first) AND last >= first),
    prefix INTEGER NOT NULL CHECK (prefix BETWEEN 0 AND 128),
    PRIMARY KEY (vpc, position),
    UNIQUE (vpc, first)
) STRICT, WITHOUT ROWID;

CREATE TABLE instance (
    id TEXT PRIMARY KEY NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    max_enis INTEGER CHECK (max_enis BETWEEN 1 AND 4294967295)
) STRICT, WITHOUT ROWID;

CREATE TABLE eni (
    id TEXT PRIMARY KEY NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    vpc TEXT NOT NULL REFERENCES vpc DEFERRABLE INITIALLY DEFERRED,
    kind TEXT NOT NULL CHECK (kind IN ('primary', 'secondary')),
    mac BLOB NOT NULL CHECK (length(mac) = 6),
    region TEXT,
    antispoof TEXT NOT NULL CHECK (antispoof IN ('instance', 'eni')),
    state TEXT NOT NULL CHECK (state IN ('detached', 'attached', 'stranded')),
    instance TEXT REFERENCES instance DEFERRABLE INITIALLY DEFERRED,
    port TEXT CHECK (length(port) BETWEEN 1 AND 15),
    vlan INTEGER CHECK (vlan BETWEEN 1 AND 4094),
    UNIQUE (vpc, mac),
    UNIQUE (vpc, id),
    CHECK ((state = 'detached') = (instance IS NULL)),
    CHECK ((port IS NULL) = (instance IS NULL)),
    CHECK (vlan IS NULL OR port IS NOT NULL)
) STRICT, WITHOUT ROWID;
CREATE INDEX eni_by_instance ON eni (instance, id) WHERE instance IS NOT NULL;
CREATE UNIQUE INDEX eni_one_primary ON eni (instance) WHERE kind = 'primary' AND instance IS NOT NULL;
CREATE INDEX eni_by_port ON eni (port, vlan, id) WHERE port IS NOT NULL;

CREATE TABLE eni_ip (
    eni TEXT NOT NULL,
    address BLOB NOT NULL CHECK (length(address) IN (5, 17)),
    position INTEGER NOT NULL,
    vpc TEXT NOT NULL,
    PRIMARY KEY (eni, address),
    UNIQUE (vpc, address),
    FOREIGN KEY (eni, vpc) REFERENCES eni (id, vpc) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

-- `followed`: whether the address after this one is an EIP's too. The next free address behind an EIP is found by the
-- index of those that are not followed, however many EIPs stand in a row.
CREATE TABLE eip (
    id TEXT PRIMARY KEY NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    address BLOB NOT NULL UNIQUE CHECK (length(address) IN (5, 17)),
    region TEXT,
    expires_at INTEGER,
    state TEXT NOT NULL CHECK (state IN ('free', 'associated', 'expired')),
    followed INTEGER NOT NULL CHECK (followed IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX eip_gaps ON eip (address) WHERE followed = 0;
CREATE INDEX eip_by_expiry ON eip (expires_at) WHERE expires_at IS NOT NULL AND state <> 'expired';

CREATE TABLE association (
    eip TEXT PRIMARY KEY NOT NULL REFERENCES eip DEFERRABLE INITIALLY DEFERRED,
    eni TEXT NOT NULL,
    private_ip BLOB NOT NULL,
    mode TEXT NOT NULL CHECK (mode IN ('nat', 'cut-through')),
    UNIQUE (eni, private_ip),
    FOREIGN KEY (eni, private_ip) REFERENCES eni_ip (eni, address) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TRIGGER association_cut_through BEFORE INSERT ON association
WHEN EXISTS (
    SELECT 1 FROM association AS other
    WHERE other.eni = new.eni
        AND (
            other.mode <> new.mode
            OR (new.mode = 'cut-through' AND substr(other.private_ip, 1, 1) = substr(new.private_ip, 1, 1))
        )
)
BEGIN
    SELECT raise(ABORT, 'a cut-through EIP stands alone on its ENI');
END;

CREATE TRIGGER association_primary BEFORE INSERT ON association
WHEN (SELECT kind FROM eni WHERE id = new.eni) = 'primary'
    AND (
        new.mode = 'cut-through'
        OR EXISTS (
            SELECT 1 FROM association AS other
            WHERE other.eni = new.eni AND substr(other.private_ip, 1, 1) = substr(new.private_ip, 1, 1)
        )
    )
BEGIN
    SELECT raise(ABORT, 'a primary ENI has one EIP, in NAT mode');
END;
