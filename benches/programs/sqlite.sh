# sqlite3: tables, indexes, joins and aggregates in memory
# needs: sqlite3
case $1 in
prepare) ;;
run) sqlite3 :memory: <<SQL
PRAGMA temp_store = MEMORY;
CREATE TABLE item (id INTEGER PRIMARY KEY, grp INTEGER, name TEXT, body BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40000 * $2)
INSERT INTO item SELECT i, i * 7919 % 1009, 'name' || (i * 104729 % 1000003), zeroblob(i % 300) FROM n;
CREATE INDEX by_group ON item (grp, name);
CREATE INDEX by_name ON item (name);
SELECT count(*), sum(length(body)) FROM item;
SELECT grp, count(*), max(name) FROM item GROUP BY grp ORDER BY 3 DESC LIMIT 5;
SELECT count(*) FROM item a JOIN item b ON a.name = b.name AND a.id < b.id;
DELETE FROM item WHERE id % 3 = 0;
VACUUM;
SELECT group_concat(name, ' ') FROM (SELECT name FROM item ORDER BY name LIMIT 10);
PRAGMA integrity_check;
SQL
;;
esac
