-- Version 3: an outer VLAN (802.1ad) around an ENI's.

ALTER TABLE eni ADD COLUMN outer_vlan INTEGER
    CHECK (outer_vlan IS NULL OR (outer_vlan BETWEEN 1 AND 4094 AND vlan IS NOT NULL));
DROP INDEX eni_by_port;
CREATE INDEX eni_by_port ON eni (port, vlan, outer_vlan, id) WHERE port IS NOT NULL;
