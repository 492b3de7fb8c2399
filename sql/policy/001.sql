-- Policy database of basalt-milter and basaltctl. No key and no password is ever in it.
CREATE TABLE IF NOT EXISTS domains (
	domain VARCHAR(253) NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (domain)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;

CREATE TABLE IF NOT EXISTS plans (
	name VARCHAR(32) NOT NULL,
	sealed SMALLINT NOT NULL,
	compress SMALLINT NOT NULL,
	linger_s BIGINT NOT NULL,
	PRIMARY KEY (name)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;

REPLACE INTO plans (name, sealed, compress, linger_s) VALUES ('private', 1, 1, 900);
REPLACE INTO plans (name, sealed, compress, linger_s) VALUES ('plain', 0, 1, 900);

CREATE TABLE IF NOT EXISTS accounts (
	address VARCHAR(254) NOT NULL,
	domain VARCHAR(253) NOT NULL,
	plan VARCHAR(32) NOT NULL,
	enabled SMALLINT NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (address),
	FOREIGN KEY (domain) REFERENCES domains (domain),
	FOREIGN KEY (plan) REFERENCES plans (name)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;

CREATE TABLE IF NOT EXISTS aliases (
	alias VARCHAR(254) NOT NULL,
	target VARCHAR(254) NOT NULL,
	domain VARCHAR(253) NOT NULL,
	created BIGINT NOT NULL,
	PRIMARY KEY (alias, target),
	FOREIGN KEY (domain) REFERENCES domains (domain)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;
