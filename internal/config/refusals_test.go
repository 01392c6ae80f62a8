package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/config"
)

// Every refusal names the file, the line and the key.
// database is the first line of a configuration whose store is one.
const database = "store: postgres://user@host/db\n"

func TestRefusals(t *testing.T) {
	const market = "marketplaces:\n- name: m\n  access_key_files: [k]\n"
	const product = "products:\n- id: a\n"
	tests := []struct{ name, yaml, want string }{
		// Form.
		{"unknown key", "issuer: http://h\nlisten: x\n", "licensed.yaml:2: listen: unknown key; known here: data_dir, issuer, time_zone, store, database, public, admin, ops, keys, marketplaces, products, limits, activate, webhooks"},
		{"unknown nested key", "public:\n  listen: 127.0.0.1:1\n  port: 1\n", "licensed.yaml:3: public.port: unknown key; known here: listen, tls, trusted_proxies"},
		{"unknown key in a list", product + "- id: b\n  lese: 1h\n", "licensed.yaml:4: products[1].lese: unknown key"},
		{"key in another case", "Issuer: http://h\n", "licensed.yaml:1: Issuer: unknown key"},
		{"odd key", "\"a b\": 1\n", `licensed.yaml:1: "a b": unknown key`},
		{"key without a name", "\"\": 1\n", `licensed.yaml:1: "": unknown key`},
		{"field that is no key", "IssuerGiven: true\n", "licensed.yaml:1: IssuerGiven: unknown key"},
		{"unexported field", "src: 1\n", "licensed.yaml:1: src: unknown key"},
		{"merge key", "<<: {issuer: x}\n", "licensed.yaml:1: only plain text can be a key"},
		{"key twice", "issuer: http://a\nissuer: http://b\n", "licensed.yaml:2: mapping key \"issuer\" already defined at [1:1]"},
		{"second document", "issuer: http://h\n---\nissuer: http://h\n", "licensed.yaml:2: a second document begins; a configuration is one"},
		{"empty second document", "issuer: http://h\n---\n", "licensed.yaml:2: a second document begins"},
		{"content after the end", "issuer: http://h\n...\nproducts: []\n", "licensed.yaml:3: a second document begins"},
		{"directive", "%YAML 1.2\n---\nissuer: http://h\n", "licensed.yaml:1: directives are not read"},
		{"trailing bracket", "issuer: http://h\n}\n", "licensed.yaml:2: "},
		{"tab", "public:\n\tlisten: x\n", "licensed.yaml:2: "},
		{"open bracket", "products: [\n", "licensed.yaml:1: "},
		{"open brackets", "issuer: http://h\nproducts: " + strings.Repeat("[", 200_000), "licensed.yaml:2: more than 100 brackets are open"},
		{"list at the top", "- a\n", "licensed.yaml:1: keys with values belong here, not a list"},
		{"text at the top", "hello\n", "licensed.yaml:1: keys with values belong here, not text"},
		{"not UTF-8", "issuer: \xff\n", "licensed.yaml: the file is not UTF-8 text"},
		{"too large", strings.Repeat("#", 300_000), "licensed.yaml: the file is larger than 256 KiB"},
		{"tag", "issuer: !!str x\n", "licensed.yaml:1: issuer: tags, anchors and aliases are not read"},
		{"anchor", "issuer: &a x\n", "licensed.yaml:1: issuer: tags, anchors"},

		// Types.
		{"number for text", "issuer: 12\n", "licensed.yaml:1: issuer: text belongs here, not a number; put it in quotes"},
		{"truth for text", "issuer: true\n", "licensed.yaml:1: issuer: text belongs here, not true or false"},
		{"keys for text", "issuer: {a: b}\n", "licensed.yaml:1: issuer: text belongs here, not keys with values"},
		{"text for keys", "public: 127.0.0.1:1\n", "licensed.yaml:1: public: keys with values belong here, not text"},
		{"text for a list", "products: a\n", "licensed.yaml:1: products: a list belongs here, not text"},
		{"text for a number", "limits: {requests_per_minute: many}\n", `licensed.yaml:1: limits.requests_per_minute: "many" is no whole number`},
		{"quoted number", "limits: {requests_per_minute: \"1\"}\n", "licensed.yaml:1: limits.requests_per_minute: a number belongs here, without quotes"},
		{"fraction", "limits: {requests_per_minute: 1.5}\n", `"1.5" is no whole number`},
		{"leading zero", "limits: {requests_per_minute: 010}\n", `"010" is no whole number in plain digits`},
		{"hexadecimal", "limits: {requests_per_minute: 0x10}\n", `"0x10" is no whole number in plain digits`},
		{"huge number", "limits: {requests_per_minute: 99999999999}\n", "99999999999 is too large"},
		{"yes for true", market + "  license_v1: yes\n", `licensed.yaml:4: marketplaces[0].license_v1: "yes" is neither true nor false`},
		{"no unit", product + "  lease: 336\n", `licensed.yaml:3: products[0].lease: "336" is no duration; write one as`},
		{"list for a duration", product + "  lease: []\n", "licensed.yaml:3: products[0].lease: a duration belongs here, not a list"},
		{"machines", product + "  machines: all\n", `licensed.yaml:3: products[0].machines: "all" is neither a number nor "amount"`},
		{"empty entry", "products:\n-\n", "licensed.yaml:2: products[0]: the entry is empty"},
		{"empty path", market + "- name: n\n  access_key_files: [\"\"]\n", "licensed.yaml:5: marketplaces[1].access_key_files[0]: the entry is empty"},
		{"feature of keys", product + "  features:\n    a: {b: c}\n", "licensed.yaml:4: products[0].features.a: a feature is true, false, a number or text"},
		{"feature without value", product + "  features: {a: }\n", "licensed.yaml:3: products[0].features.a: a feature is true, false"},
		{"feature not in JSON", product + "  features: {a: 0x10}\n", "products[0].features.a: 0x10 is no number as JSON writes it"},
		{"feature without end", product + "  features: {a: .inf}\n", "products[0].features.a: .inf is no number"},
		{"feature's name", product + "  features: {a=b: true}\n", `products[0].features."a=b": a feature's name has 1 to 64 characters`},
		{"features as a list", product + "  features: [a]\n", "licensed.yaml:3: products[0].features: keys with values belong here, not a list"},

		// Values.
		{"issuer missing", "public: {listen: ':80', trusted_proxies: [10.0.0.1]}\n", "licensed.yaml: issuer: must be set where public.listen is not loopback"},
		{"issuer relative", "issuer: licence.example.com\n", "licensed.yaml:1: issuer: must be an absolute URL that begins with http:// or https://"},
		{"issuer of another scheme", "issuer: ftp://h\n", "issuer: must be an absolute URL"},
		{"issuer with a slash", "issuer: https://h/\n", "licensed.yaml:1: issuer: must not end in /"},
		{"issuer with a query", "issuer: https://h?a=b\n", "issuer: must not have a query or a fragment"},
		{"issuer with an empty query", "issuer: https://h?\n", "issuer: must not have a query or a fragment"},
		{"issuer with a fragment", "issuer: \"https://h#\"\n", "issuer: must not have a query or a fragment"},
		{"issuer with a user", "issuer: https://u:p@h\n", "issuer: must not hold a user or a password"},
		{"issuer with a bad port", "issuer: https://h:99999\n", `issuer: "99999" is no port`},
		{"issuer not a URL", "issuer: \"https://h%zz\"\n", "issuer: is no URL"},
		{"store", "store: mysql://h\n", "licensed.yaml:1: store: must be bolt:PATH or postgres://user@host/database"},
		{"store without path", "store: 'bolt:'\n", "store: bolt: must be followed by the path of a file"},
		{"store with a password", "store: postgres://u:hush@h/d\n", "store: a password does not belong in the configuration"},
		{"store with a password behind", "store: postgres://u@h/d?password=hush\n", "store: a password does not belong in the configuration"},
		{"store not a URL", "store: 'postgres:h'\n", "store: is no URL; write postgres://user@host/database"},
		{"no port", "public: {listen: 127.0.0.1}\n", `licensed.yaml:1: public.listen: "127.0.0.1" is no address to listen on`},
		{"no public listener", "public: {listen: ''}\n", `public.listen: "" is no address to listen on`},
		{"port name", "ops: {listen: 'localhost:http'}\n", "ops.listen: \"localhost:http\" is no address"},
		{"port too high", "ops: {listen: 'localhost:70000'}\n", "ops.listen: \"localhost:70000\" is no address"},
		{"odd host", "ops: {listen: 'a/b:1'}\n", "ops.listen: \"a/b:1\" is no address"},
		{"bad IPv6", "ops: {listen: '[::g]:1'}\n", "ops.listen: \"[::g]:1\" is no address"},
		{"one address twice", "ops: {listen: '127.0.0.1:8080'}\n", "licensed.yaml:1: ops.listen: 127.0.0.1:8080 is public.listen already"},
		{"plain text outside", "issuer: http://h\npublic:\n  listen: 0.0.0.0:80\n", "licensed.yaml:3: public.listen: 0.0.0.0:80 is reachable from outside in plain text; set public.tls"},
		{"plain text on a name", "issuer: http://h\npublic: {listen: 'host:80'}\n", "public.listen: host:80 is reachable from outside in plain text"},
		{"plain text for tokens", "admin: {listen: ':81'}\n", "licensed.yaml:1: admin.listen: :81 is reachable from outside in plain text, and tokens with it"},
		{"certificate without key", "public: {tls: {cert_file: c}}\n", "licensed.yaml:1: public.tls: cert_file and key_file belong together"},
		{"client certificates without TLS", "admin: {tls: {client_ca_file: ca.pem}}\n", "licensed.yaml:1: admin.tls.client_ca_file: needs cert_file and key_file"},
		{"socket path", "admin: {socket: /" + strings.Repeat("a", 120) + "}\n", "is longer than the 100 bytes that systems allow for a socket; choose another"},
		{"socket path on Linux", "admin: {socket: /" + strings.Repeat("a", 100) + "}\n", "licensed.yaml:1: admin.socket: /"},
		{"proxy", "public: {trusted_proxies: [proxy]}\n", `licensed.yaml:1: public.trusted_proxies[0]: "proxy" is no network`},
		{"proxy with host bits", "public: {trusted_proxies: [10.0.0.1/8]}\n", "public.trusted_proxies[0]: 10.0.0.1/8 has bits beyond its mask; the network is 10.0.0.0/8"},
		{"marketplace name missing", "marketplaces:\n- access_key_files: [k]\n", `licensed.yaml:2: marketplaces[0].name: "" is no name for an address`},
		{"marketplace name", "marketplaces: [{name: Koo, access_key_files: [k]}]\n", `marketplaces[0].name: "Koo" is no name`},
		{"marketplace named as the merchant's codes", "marketplaces:\n- name: manual\n  access_key_files: [k]\n", `licensed.yaml:2: marketplaces[0].name: "manual" stands for the codes that you make yourself`},
		{"marketplace twice", market + "- name: m\n  access_key_files: [k]\n", "licensed.yaml:4: marketplaces[1].name: m is marketplaces[0].name already"},
		{"no access key", "marketplaces:\n- name: m\n", "licensed.yaml:2: marketplaces[0].access_key_files: at least one file"},
		{"code pattern", market + "  code_pattern: \"(\"\n", "licensed.yaml:4: marketplaces[0].code_pattern: is no regular expression"},
		{"time zone of staff", "time_zone: Mars/Base\n", `licensed.yaml:1: time_zone: there is no time zone "Mars/Base"`},
		{"no time zone", "time_zone: \"\"\n", "time_zone: a time zone must be named"},
		{"time zone", market + "  expire_time_zone: Mars/Base\n", `licensed.yaml:4: marketplaces[0].expire_time_zone: there is no time zone "Mars/Base"`},
		{"time zone of the probes", market + "  probe_time_zone: Mars/Base\n", `licensed.yaml:4: marketplaces[0].probe_time_zone: there is no time zone "Mars/Base"`},
		{"time zone of the machine", market + "  expire_time_zone: Local\n", `"Local" depends on the machine`},
		{"base URL without TLS", market + "  open_api:\n    base_urls: [https://a, http://b]\n", "licensed.yaml:5: marketplaces[0].open_api.base_urls[1]: must be an absolute URL that begins with https://"},
		{"no base URL", market + "  open_api: {base_urls: []}\n", "marketplaces[0].open_api.base_urls: at least one URL"},
		{"half a key", market + "  open_api: {access_key_id_file: a}\n", "licensed.yaml:4: marketplaces[0].open_api: access_key_id_file and secret_access_key_file belong together"},
		{"no product", "products: []\n", "licensed.yaml:1: products: at least one product is needed"},
		{"product without id", "products:\n- name: A\n", `licensed.yaml:2: products[0].id: "" is no product id`},
		{"product id", "products: [{id: a b}]\n", `products[0].id: "a b" is no product id`},
		{"product twice", product + "- id: a\n", "licensed.yaml:3: products[1].id: a is products[0].id already"},
		{
			"marketplace product twice", product + "  marketplace_products: [O]\n- id: b\n  marketplace_products: [N, O]\n",
			"licensed.yaml:5: products[1].marketplace_products[1]: O is products[0].marketplace_products[0] already",
		},
		{"product id too long", "products: [{id: " + strings.Repeat("a", 64) + "}]\n", "is no product id; use up to 63 of"},
		{"product name too long", product + "  name: " + strings.Repeat("ä", 65) + "\n", "licensed.yaml:3: products[0].name: has 130 bytes, and may have 128"},
		{"product name with control characters", product + "  name: \"a\\nb\"\n", "licensed.yaml:3: products[0].name: holds a control character"},
		{"product name not text", product + "  name: \"a\\uFFFDb\"\n", "licensed.yaml:3: products[0].name: is not UTF-8 text"},
		{"feature's name too long", product + "  features: {" + strings.Repeat("a", 65) + ": true}\n", "a feature's name has 1 to 64 characters"},
		{"feature's text too long", product + "  features:\n    a: true\n    b: " + strings.Repeat("x", 1025) + "\n", "licensed.yaml:5: products[0].features.b: has 1025 bytes, and may have 1024"},
		{"feature's text not text", product + "  features: {a: \"\\uFFFD\"}\n", "licensed.yaml:3: products[0].features.a: is not UTF-8 text"},
		{"too many features", product + "  features:\n" + manyFeatures(201, "true"), "licensed.yaml:3: products[0].features: has 201 entries, and may have 200"},
		{"too much in features", product + "  features:\n" + manyFeatures(30, strings.Repeat("x", 1000)), "licensed.yaml:3: products[0].features: has 30"},
		{"no machines", product + "  machines: 0\n", "licensed.yaml:3: products[0].machines: 0 is not between 1 and 1000000"},
		{"mode", product + "  mode: cloud\n", `licensed.yaml:3: products[0].mode: "cloud" is not one of node, floating`},
		{"binding", product + "  binding: strict\n", `products[0].binding: "strict" is not one of exact, fuzzy, loose, none`},
		{"enforcement", product + "  phases: {enforcement: kill}\n", `products[0].phases.enforcement: "kill" is not one of block, degrade, advisory`},
		{"no installs", product + "  installs_per_machine: 0\n", "products[0].installs_per_machine: 0 is not between 1 and 1000"},
		{"negative phase", product + "  phases: {grace: -1h}\n", "products[0].phases.grace: -1h is negative"},
		{"no refresh", product + "  refresh: 0\n", "products[0].refresh: must be more than 0"},
		{"refresh after the lease", product + "  lease: 24h\n", "products[0].refresh: 1d is not before the end of the lease, 1d"},
		{"no window for the old interface", market + "  license_v1_window: 0\n", "licensed.yaml:4: marketplaces[0].license_v1_window: 0s is not between 1m and 1d"},
		{"endless window for the old interface", market + "  license_v1_window: 25h\n", "licensed.yaml:4: marketplaces[0].license_v1_window: 1d1h is not between 1m and 1d"},
		{"status list too young", product + "  status_max_age: 59m\n", "licensed.yaml:3: products[0].status_max_age: 59m is less than 1h: a list is published anew"},
		{"parts of a second", product + "  lease: 90000000ms\n  refresh: 1500ms\n", "products[0].refresh: 1.5s is not in whole seconds"},
		{"too long", product + "  lease: 50000d\n", "products[0].lease: 50000d is more than a hundred years"},
		{"transfers", product + "  transfers: {per_year: -1}\n", "products[0].transfers.per_year: -1 is not between"},
		{"forks", product + "  forks: refuse newest\n", `licensed.yaml:3: products[0].forks: "refuse newest" is not one of report, refuse-newest, refuse-both`},
		{"rotation too often", "keys: {rotate_every: 1h}\n", "licensed.yaml:1: keys.rotate_every: 1h is not between 1d and 400d"},
		{"rotation too rare", "keys: {rotate_every: 401d}\n", "keys.rotate_every: 401d is not between 1d and 400d"},
		{"rotation backwards", "keys: {rotate_every: -90d}\n", "keys.rotate_every: -90d is negative"},
		{"sharing", "keys: {share: disk}\n", "keys.share"},
		{"token without a label", "keys: {pkcs11: {module: /m.so, pin_file: /pin}}\n", "keys.pkcs11.token_label"},
		{"token without a PIN", "keys: {pkcs11: {module: /m.so, token_label: t}}\n", "keys.pkcs11.pin_file"},
		{"token without a module", "keys: {pkcs11: {token_label: t, pin_file: /pin}}\n", "keys.pkcs11.module"},
		{"sessions", "keys: {pkcs11: {module: /m.so, token_label: t, pin_file: /pin, sessions: 65}}\n", "keys.pkcs11.sessions: 65 is not between"},
		{"approval", product + "  transfers: {approval: maybe}\n", `licensed.yaml:3: products[0].transfers.approval: "maybe" is not one of never, over_limit, always`},
		{"approval for nothing", product + "  transfers: {approval_for: 0}\n", "products[0].transfers.approval_for: must be more than 0"},
		{"overage", product + "  overage: some\n", `licensed.yaml:3: products[0].overage: "some" is neither refuse nor {allow: NUMBER}`},
		{"overage of another key", product + "  overage: {allows: 1}\n", "licensed.yaml:3: products[0].overage.allows: unknown key; known here: allow"},
		{"overage below zero", product + "  overage: {allow: -1}\n", "products[0].overage.allow: -1 is not between"},
		{"silent for an hour", product + "  installs: {release_after: 1h}\n", "products[0].installs.release_after: 1h is less than 1d; 0 is never"},
		{"renewals", product + "  renew_within: -1h\n", "products[0].renew_within: -1h is negative"},
		{"trial", product + "  trial: {for: 0}\n", "products[0].trial.for: must be more than 0"},
		{"trials of a machine", product + "  trial: {per_machine: 17}\n", "products[0].trial.per_machine: 17 is not between 0 and 16"},
		{"accepts nobody", product + "  accepts: [b]\n", `licensed.yaml:3: products[0].accepts[0]: there is no product "b"`},
		{"accepts itself", product + "  accepts: [a]\n", "products[0].accepts[0]: a accepts its own programs anyway"},
		{"undo window", "undo_window: 90d\n", "licensed.yaml:1: undo_window: 90d is not between 1m and 30d"},
		{"backup too often", "backup: {every: 9m}\n", "licensed.yaml:1: backup.every: it must be between 10m and 31d"},
		{"backup too rare", "backup: {every: 32d}\n", "backup.every: it must be between 10m and 31d"},
		{"no backup kept", "backup: {keep: {last: 0}}\n", "backup.keep.last: it must be between 1 and 1000"},
		{"less than no backup kept", "backup: {keep: {weekly: -1}}\n", "backup.keep.weekly: it must be between 0 and 1000"},
		{"every backup kept", "backup: {keep: {monthly: 1001}}\n", "backup.keep.monthly: it must be between 0 and 1000"},
		{"backup of a database", database + "backup: {dir: b}\n", "licensed.yaml:2: backup.dir: only the embedded store makes backups of itself"},
		{"password of a file", "database: {password_file: p}\n", "licensed.yaml:1: database.password_file: the store is a file, which takes no such setting"},
		{"connections to a file", "store: bolt:b\ndatabase: {max_connections: 8}\n", "licensed.yaml:2: database.max_connections: the store is a file"},
		{"time of a file", "database: {idle_timeout: 8s}\n", "licensed.yaml:1: database.idle_timeout: the store is a file"},
		{"too few connections", database + "database: {max_connections: 1}\n", "licensed.yaml:2: database.max_connections: 1 is not between 2 and 1000"},
		{"too many connections", database + "database: {max_connections: 1001}\n", "database.max_connections: 1001 is not between 2 and 1000"},
		{"no time for a statement", database + "database: {statement_timeout: 0}\n", "database.statement_timeout: 0s is not between 1s and 10m"},
		{"no time for the turn", database + "database: {lock_timeout: 1ms}\n", "database.lock_timeout: 1ms is not between 1s and 10m"},
		{"all time for silence", database + "database: {idle_timeout: 11m}\n", "database.idle_timeout: 11m is not between 1s and 10m"},
		{"no time to connect", database + "database: {connect_timeout: -5s}\n", "database.connect_timeout: -5s is not between 1s and 10m"},
		{"limit", "limits: {requests_per_minute: -1}\n", "limits.requests_per_minute: -1 is not between"},
		{"buyer's contact", "activate: {contact: 'javascript:alert(1)'}\n", "licensed.yaml:1: activate.contact: \"javascript:alert(1)\" is neither a mail address"},
		{"a name for a contact", "activate: {contact: 'Help <help@example.com>'}\n", "is neither a mail address"},
		{"buyer's title", "activate: {title: \"a\\tb\"}\n", "activate.title: holds a control character"},
		{"long title", "activate: {title: '" + strings.Repeat("x", 101) + "'}\n", "activate.title: has 101 bytes, and may have 100"},
		{"webhook", "webhooks: [{events: [a]}]\n", "licensed.yaml:1: webhooks[0].url: must be set"},
		{"webhook event", "webhooks: [{url: 'https://h', events: ['']}]\n", "webhooks[0].events[0]: the entry is empty"},
		{"webhook without a secret", "webhooks: [{url: 'https://h'}]\n", "webhooks[0].secret_file: must be set; licensectl webhook secret makes a secret"},
		{"webhook in plain text", "webhooks: [{url: 'http://crm.example.com/hook', secret_file: s}]\n", "webhooks[0].url: http:// is for this machine only"},
		{"webhook's name", "webhooks: [{name: 'CRM/1', url: 'https://h', secret_file: s}]\n", "webhooks[0].name: \"CRM/1\" is no name for a webhook"},
		{"webhooks of one host", "webhooks: [{url: 'https://h/a', secret_file: s}, {url: 'https://h/b', secret_file: s}]\n", "webhooks[1].name: h is webhooks[0].name already"},
		{"webhook's product", "webhooks: [{url: 'https://h', secret_file: s, products: [x]}]\n", "webhooks[0].products[0]: there is no product \"x\""},
		{"webhook's include", "webhooks: [{url: 'https://h', secret_file: s, include: [code]}]\n", "webhooks[0].include[0]: \"code\" is not one of customer, actor, note"},
		{"webhook's secrets", "webhooks: [{url: 'https://h', secret_file: s, secret_files: [a, b, c, d]}]\n", "webhooks[0].secret_files: there are 5 secrets, and may be 4"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Parse("licensed.yaml", "/dir", []byte(test.yaml))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
			if !strings.HasPrefix(err.Error(), "licensed.yaml") {
				t.Errorf("the error does not begin with the file: %s", err)
			}
			if strings.Contains(err.Error(), "hush") {
				t.Errorf("the error shows a password: %s", err)
			}
			var e *config.Error
			if !errors.As(err, &e) || e.Where != "licensed.yaml" {
				t.Errorf("the error is a %T, its place %+v", err, e)
			}
		})
	}
}

// Everything that is wrong is said at once.
func TestAllRefusalsAtOnce(t *testing.T) {
	_, err := config.Parse("licensed.yaml", "/dir", []byte("issuer: x\nproducts:\n- id: a\n  mode: x\n  machines: 0\n"))
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("errors: %v", err)
	}
}
