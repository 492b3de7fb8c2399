-- What became of mail, for `basaltctl history`. account and sender are keyed hashes, never addresses; queue_id is where the mail
-- server's log goes on. Rows past the milter's history_days are removed.
CREATE TABLE IF NOT EXISTS history (
	account BINARY(16) NOT NULL,
	at BIGINT NOT NULL,
	id BINARY(16) NOT NULL,
	sender BINARY(16) NOT NULL,
	outcome VARCHAR(16) NOT NULL,
	decided_by VARCHAR(16) NOT NULL,
	reply VARCHAR(16) NOT NULL,
	queue_id VARCHAR(64) NOT NULL,
	PRIMARY KEY (account, at, id)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;

CREATE INDEX IF NOT EXISTS history_at ON history (at);
