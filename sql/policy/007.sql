-- Accounts whose keys a first login makes, or made, until their owner was told so by mail.
CREATE TABLE IF NOT EXISTS first_logins (
	address VARCHAR(254) NOT NULL,
	PRIMARY KEY (address),
	FOREIGN KEY (address) REFERENCES accounts (address) ON DELETE CASCADE
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;
