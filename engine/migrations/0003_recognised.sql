-- Pages whose text was recognised from a picture, not taken from the file.
ALTER TABLE pages ADD COLUMN recognised INTEGER NOT NULL DEFAULT 0;
