-- The key of hashes that outlive a rotation of the master key, sealed under it. NULL: no rotation yet, it follows from it.
ALTER TABLE master_key_check ADD COLUMN lasting_sealed BYTEA;
