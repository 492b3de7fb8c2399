-- What the milters count and remember of strangers. id is a keyed hash of what it is about, never an address; what since, n
-- and earlier mean is milter/ledger.h's. Rows past expires (seconds since 1970) mean nothing and are removed.
CREATE TABLE IF NOT EXISTS ledger (
	id BINARY(16) NOT NULL,
	since BIGINT NOT NULL,
	n BIGINT NOT NULL,
	earlier BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	PRIMARY KEY (id)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;

CREATE INDEX IF NOT EXISTS ledger_expires ON ledger (expires);
