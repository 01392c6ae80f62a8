#!/bin/sh
# Makes the secrets that the parts share: passwords, and the authority and the certificates of the
# database. What is there stays. Run it as root, in this folder: each file belongs to whoever
# reads it, 999 (postgres of its image), 65532 (licensed) or 99 (haproxy of its image).
set -eu
umask 077
mkdir -p secrets keys
cd secrets
password() { [ -s "$1" ] || openssl rand -hex 24 >"$1"; }
password db-password
password db-superuser-password
password db-replication-password
[ -s db-role-password ] || cp db-password db-role-password # the same, for the server at its first start
[ -s db-replication-passfile ] || printf '*:*:*:replication:%s\n' "$(cat db-replication-password)" >db-replication-passfile
if [ ! -s db-ca ]; then
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj '/CN=licensed database' \
		-keyout db-ca-key -out db-ca 2>/dev/null
fi
for name in db-a db-b; do
	[ ! -s $name-cert ] || continue
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" -keyout $name-key -out $name-csr 2>/dev/null
	printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' $name >$name-ext
	openssl x509 -req -in $name-csr -CA db-ca -CAkey db-ca-key -CAcreateserial -days 825 -extfile $name-ext -out $name-cert 2>/dev/null
	rm -f $name-csr $name-ext
done
own() { [ "$(id -u)" != 0 ] || chown "$@"; }
chmod 0600 ./*
chmod 0644 db-ca
own 999 db-role-password db-superuser-password db-replication-password db-replication-passfile db-a-cert db-a-key db-b-cert db-b-key
for name in access-key ak sk db-password; do [ ! -e $name ] || own 65532 $name; done
[ ! -e balancer-tls ] || own 99 balancer-tls
own -R 65532 ../keys
for name in access-key ak sk balancer-tls; do
	[ -s $name ] || echo "still missing: secrets/$name" >&2
done
echo "db-ca-key signs certificates of the database: keep it elsewhere" >&2
