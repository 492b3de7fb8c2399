-- What DMARC made of the mail of each day (days since 1970, UTC), for reports to the domains (RFC 7489 section 7.2): domains, client
-- addresses and counts, never a local part. digest is that of the columns behind it but the count.
CREATE TABLE IF NOT EXISTS dmarc_results (
	day BIGINT NOT NULL,
	digest VARBINARY(32) NOT NULL,
	author VARCHAR(253) NOT NULL,
	domain VARCHAR(253) NOT NULL,
	policy VARCHAR(128) NOT NULL,
	rua VARCHAR(512) NOT NULL,
	source VARCHAR(45) NOT NULL,
	envelope VARCHAR(253) NOT NULL,
	spf VARCHAR(280) NOT NULL,
	dkim VARCHAR(1500) NOT NULL,
	disposition VARCHAR(10) NOT NULL,
	dkim_aligned SMALLINT NOT NULL,
	spf_aligned SMALLINT NOT NULL,
	reason VARCHAR(32) NOT NULL,
	messages BIGINT NOT NULL,
	PRIMARY KEY (day, digest)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;
