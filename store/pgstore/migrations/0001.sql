-- Records are JSON in record, which alone counts; the columns beside it are what
-- records are found by. Text compares bytewise whatever the database's collation.

create table licenses (
    id text collate "C" primary key,
    code bytea not null unique,
    revision bigint not null,
    standing smallint not null, -- see class in licenses.go
    ends bigint not null,       -- seconds since the epoch
    customer text collate "C",
    instance text collate "C",
    last4 text collate "C",
    ordered text collate "C",   -- the order's id
    record text not null
);
create index licenses_standing on licenses (standing, ends, id);
create index licenses_customer on licenses (customer, id) where customer is not null;
create index licenses_instance on licenses (instance, id) where instance is not null;
create index licenses_last4 on licenses (last4, id) where last4 is not null;
create index licenses_ordered on licenses (ordered, id) where ordered is not null;

create table installs (
    license text collate "C" not null,
    id text collate "C" not null,
    revision bigint not null,
    live boolean not null,
    record text not null,
    answer bytea, -- byte for byte
    primary key (license, id)
);
create index installs_live on installs (license, id) where live;

create table orders (
    channel text collate "C" not null,
    id text collate "C" not null,
    line text collate "C" not null,
    revision bigint not null,
    license text collate "C",
    record text not null,
    primary key (channel, id, line)
);
create index orders_license on orders (license, channel, id, line) where license is not null;

create table pending (
    channel text collate "C" not null,
    code bytea not null,
    record text not null,
    primary key (channel, code)
);

create table jobs (
    id text collate "C" primary key,
    revision bigint not null,
    key text collate "C",
    parked boolean not null,
    turn boolean not null, -- it waits, and none of its key stands before it
    due bigint not null,   -- seconds since the epoch
    record text not null
);
create index jobs_state on jobs (parked, id);
create index jobs_due on jobs (due, id) where turn;
create index jobs_key on jobs (key, id) where not parked and key is not null;

create table marks (
    until bigint not null, -- milliseconds since the epoch
    key bytea not null,
    primary key (until, key)
);

create table vals (
    name text collate "C" primary key,
    data bytea not null
);

create table status_lists (
    id text collate "C" primary key,
    record text not null
);

create table statuses (
    list text collate "C" not null,
    idx integer not null,
    status smallint not null,
    final_at bigint, -- seconds since the epoch
    primary key (list, idx)
);

create table audit (
    seq bigint primary key,
    license text collate "C",
    grp bigint not null, -- random, the same for what was committed together
    line bytea not null  -- byte for byte: hashes are of it
);
create index audit_license on audit (license, seq) where license is not null;

-- The head of the audit log: one row, which every writer locks before it reads.
create table head (
    one boolean primary key check (one),
    seq bigint not null,
    hash bytea not null
);
insert into head (one, seq, hash) values (true, 0, '\x0000000000000000000000000000000000000000000000000000000000000000');
