-- Keys database, read and written by keyd's keystore alone. Everything in keyset is sealed or signed (docs/FORMAT.keys.md).
-- A row is never changed: a new generation is a new row.
CREATE TABLE IF NOT EXISTS keysets (
	account VARCHAR(254) NOT NULL,
	generation BIGINT NOT NULL,
	keyset LONGBLOB NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (account, generation)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;
