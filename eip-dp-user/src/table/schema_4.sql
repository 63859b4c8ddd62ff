-- Version 4: which table it is (`meta.identity`: copies have it, a table made anew has another); in which order pools are
-- asked for an address; private IPs that several ENIs of a VPC share; an ENI's attachment (`force`: on a port that is
-- the host's own; `rebind`, `bound`: whether an interface made anew under the name is the same port); whether an EIP is
-- announced although another host answers for it; the association that an expired EIP had. Every text has a bound.

DROP TRIGGER association_cut_through;
DROP TRIGGER association_primary;

ALTER TABLE meta ADD COLUMN identity BLOB CHECK (length(identity) = 16);
UPDATE meta SET identity = randomblob(16);

CREATE TABLE new_pool (
    first BLOB NOT NULL CHECK (length(first) IN (5, 17)),
    last BLOB NOT NULL CHECK (length(last) = length(first) AND last >= first),
    prefix INTEGER NOT NULL CHECK (prefix BETWEEN 0 AND 128),
    gateway TEXT CHECK (length(gateway) <= 64),
    reserve TEXT NOT NULL CHECK (length(reserve) <= 16384),
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 65535),
    PRIMARY KEY (first, prefix)
) STRICT, WITHOUT ROWID;
INSERT INTO new_pool SELECT first, last, prefix, gateway, reserve, 100 FROM pool;
DROP TABLE pool;
ALTER TABLE new_pool RENAME TO pool;

CREATE TABLE new_eni (
    id TEXT PRIMARY KEY NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    vpc TEXT NOT NULL REFERENCES vpc DEFERRABLE INITIALLY DEFERRED,
    kind TEXT NOT NULL CHECK (kind IN ('primary', 'secondary')),
    mac BLOB NOT NULL CHECK (length(mac) = 6),
    region TEXT CHECK (length(region) BETWEEN 1 AND 64),
    antispoof TEXT NOT NULL CHECK (antispoof IN ('instance', 'eni')),
    state TEXT NOT NULL CHECK (state IN ('detached', 'attached', 'stranded')),
    instance TEXT REFERENCES instance DEFERRABLE INITIALLY DEFERRED,
    port TEXT CHECK (length(port) BETWEEN 1 AND 127),
    vlan INTEGER CHECK (vlan BETWEEN 1 AND 4094),
    outer_vlan INTEGER CHECK (outer_vlan IS NULL OR (outer_vlan BETWEEN 1 AND 4094 AND vlan IS NOT NULL)),
    force INTEGER NOT NULL CHECK (force IN (0, 1)),
    rebind TEXT NOT NULL CHECK (rebind IN ('name', 'never')),
    bound TEXT CHECK (length(bound) BETWEEN 1 AND 128),
    UNIQUE (vpc, mac),
    UNIQUE (vpc, id),
    CHECK ((state = 'detached') = (instance IS NULL)),
    CHECK ((port IS NULL) = (instance IS NULL)),
    CHECK (port IS NOT NULL OR (vlan IS NULL AND force = 0 AND rebind = 'name' AND bound IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO new_eni
    SELECT id, vpc, kind, mac, region, antispoof, state, instance, port, vlan, outer_vlan, 0, 'name', NULL FROM eni;
DROP TABLE eni;
ALTER TABLE new_eni RENAME TO eni;
CREATE INDEX eni_by_instance ON eni (instance, id) WHERE instance IS NOT NULL;
CREATE UNIQUE INDEX eni_one_primary ON eni (instance) WHERE kind = 'primary' AND instance IS NOT NULL;
CREATE INDEX eni_by_port ON eni (port, vlan, outer_vlan, id) WHERE port IS NOT NULL;

CREATE TABLE new_eni_ip (
    eni TEXT NOT NULL,
    address BLOB NOT NULL CHECK (length(address) IN (5, 17)),
    position INTEGER NOT NULL,
    vpc TEXT NOT NULL,
    shared INTEGER NOT NULL CHECK (shared IN (0, 1)),
    PRIMARY KEY (eni, address),
    FOREIGN KEY (eni, vpc) REFERENCES eni (id, vpc) DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;
INSERT INTO new_eni_ip SELECT eni, address, position, vpc, 0 FROM eni_ip;
DROP TABLE eni_ip;
ALTER TABLE new_eni_ip RENAME TO eni_ip;
CREATE INDEX eni_ip_by_address ON eni_ip (vpc, address, eni);
CREATE UNIQUE INDEX eni_ip_of_one ON eni_ip (vpc, address) WHERE shared = 0;
CREATE TRIGGER eni_ip_shared BEFORE INSERT ON eni_ip
WHEN EXISTS (
    SELECT 1 FROM eni_ip AS other
    WHERE other.vpc = new.vpc AND other.address = new.address AND other.eni <> new.eni
        AND (other.shared = 0 OR new.shared = 0)
)
BEGIN
    SELECT raise(ABORT, 'a private IP of two ENIs is shared at both');
END;

CREATE TABLE new_eip (
    id TEXT PRIMARY KEY NOT NULL CHECK (length(id) BETWEEN 1 AND 64),
    address BLOB NOT NULL UNIQUE CHECK (length(address) IN (5, 17)),
    region TEXT CHECK (length(region) BETWEEN 1 AND 64),
    expires_at INTEGER,
    state TEXT NOT NULL CHECK (state IN ('free', 'associated', 'expired')),
    announce TEXT NOT NULL CHECK (announce IN ('auto', 'always')),
    former_eni TEXT CHECK (length(former_eni) BETWEEN 1 AND 64),
    former_private_ip BLOB CHECK (length(former_private_ip) IN (5, 17)),
    former_mode TEXT CHECK (former_mode IN ('nat', 'cut-through')),
    followed INTEGER NOT NULL CHECK (followed IN (0, 1)),
    CHECK ((former_eni IS NULL) = (former_private_ip IS NULL)),
    CHECK ((former_eni IS NULL) = (former_mode IS NULL))
) STRICT, WITHOUT ROWID;
INSERT INTO new_eip
    SELECT id, address, region, expires_at, state, 'auto', NULL, NULL, NULL, followed FROM eip;
DROP TABLE eip;
ALTER TABLE new_eip RENAME TO eip;
CREATE INDEX eip_gaps ON eip (address) WHERE followed = 0;
CREATE INDEX eip_by_expiry ON eip (expires_at) WHERE expires_at IS NOT NULL AND state <> 'expired';

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

CREATE TRIGGER association_shared BEFORE INSERT ON association
WHEN EXISTS (
    SELECT 1 FROM eni_ip AS own
        JOIN eni_ip AS other ON other.vpc = own.vpc AND other.address = own.address AND other.eni <> own.eni
        JOIN association AS one ON one.eni = other.eni AND one.private_ip = other.address
    WHERE own.eni = new.eni AND own.address = new.private_ip
)
BEGIN
    SELECT raise(ABORT, 'a private IP has one EIP, shared or not');
END;
