-- What is wanted of the checks. scope 0: the site (name ''), 1: a plan, 2: a domain, 3: an account; of one item the
-- highest scope counts. Items and values are those of common/policy.h.
CREATE TABLE IF NOT EXISTS preferences (
	scope SMALLINT NOT NULL,
	name VARCHAR(254) NOT NULL,
	item VARCHAR(32) NOT NULL,
	value VARCHAR(128) /*! CHARACTER SET binary */ NOT NULL,
	PRIMARY KEY (scope, name, item)
) /*! ENGINE=InnoDB DEFAULT CHARACTER SET ascii COLLATE ascii_bin */;
