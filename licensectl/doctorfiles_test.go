package main

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/certtest"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/store/backup"
	"github.com/seed-357fa782/licensed/store/open"
)

// installation is a folder as that of a daemon which does not run.
type installation struct {
	t      *testing.T
	dir    string
	now    time.Time
	config string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	i := &installation{t: t, dir: t.TempDir(), now: newScreen(t, "").now()}
	i.config = "data_dir: data\nissuer: https://licence.example.com\nbackup: {dir: copies}\n"
	if err := os.Mkdir(i.path("data"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := keys.Init(i.path("data/keys"), keys.Options{Issuer: "https://licence.example.com", Now: func() time.Time { return i.now.Add(-time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(i.path("data/keys/anchors")); err != nil { // they are offline
		t.Fatal(err)
	}
	s, err := open.Open(t.Context(), "bolt:"+i.path("data/licensed.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(i.path("data/licensed.db"), i.now.Add(-time.Minute), i.now.Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	i.write("copies/"+backup.Name(i.now.Add(-time.Hour)), []byte("copy"))
	return i
}

func (i *installation) path(name string) string {
	return filepath.Join(i.dir, filepath.FromSlash(name))
}

func (i *installation) write(name string, data []byte) {
	i.t.Helper()
	if err := os.MkdirAll(filepath.Dir(i.path(name)), 0o700); err != nil {
		i.t.Fatal(err)
	}
	if err := os.WriteFile(i.path(name), data, 0o600); err != nil {
		i.t.Fatal(err)
	}
	if err := os.Chtimes(i.path(name), i.now.Add(-time.Minute), i.now.Add(-time.Minute)); err != nil {
		i.t.Fatal(err)
	}
}

// certificate writes a pair for the public listener that ends at an instant.
func (i *installation) certificate(from, to time.Time) {
	i.t.Helper()
	cert, key, err := certtest.SelfSigned(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{"licence.example.com"}, NotBefore: from, NotAfter: to,
	})
	if err != nil {
		i.t.Fatal(err)
	}
	i.write("cert.pem", cert)
	i.write("key.pem", key)
	i.config += "public: {tls: {cert_file: cert.pem, key_file: key.pem}}\n"
}

// marketplace adds an entry whose open API is at an address.
func (i *installation) marketplace(base string) {
	for _, name := range []string{"access", "ak", "sk"} {
		i.write(name, []byte("a secret text of some length"))
	}
	i.config += fmt.Sprintf("marketplaces:\n  - name: koogallery\n    access_key_files: [access]\n    open_api: {base_urls: [%q], ca_file: ca.pem, access_key_id_file: ak, secret_access_key_file: sk}\n", base)
}

// later lets time pass, in which backups were made.
func (i *installation) later(d time.Duration) {
	i.now = i.now.Add(d)
	i.write("copies/"+backup.Name(i.now.Add(-time.Hour)), []byte("copy"))
}

func (i *installation) doctor() (int, diagnosis) {
	i.t.Helper()
	i.write("licensed.yaml", []byte(i.config))
	s := newScreen(i.t, "")
	s.now = func() time.Time { return i.now }
	exit := s.run(i.t.Context(), []string{"licensectl", "doctor", "--config", i.path("licensed.yaml"), "-o", "json"})
	var d diagnosis
	if err := json.Unmarshal(s.out.Bytes(), &d); err != nil {
		i.t.Fatalf("%v: %s %s", err, &s.out, &s.err)
	}
	return exit, d
}

// What is wrong with the installation of a daemon that does not run is found, by the
// check of its name and no other, with how to mend it.
func TestDoctorFiles(t *testing.T) {
	shop := httptest.NewUnstartedServer(http.NotFoundHandler())
	shop.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	shop.StartTLS()
	t.Cleanup(shop.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shop.Certificate().Raw})
	other, err := keys.Init(filepath.Join(t.TempDir(), "keys"), keys.Options{Issuer: "https://other.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name          string
		edit          func(i *installation)
		check, result string
		mention, mend string
	}{
		{"nothing", func(*installation) {}, "", "", "", ""},
		{"a configuration that does not load", func(i *installation) { i.config += "colour: red\n" }, "configuration", "fail", "licensed.yaml:4: colour", "check-config"},
		{"a secret that is not there", func(i *installation) { i.config += "keys: {passphrase_file: pass}\n" }, "files", "fail", "keys.passphrase_file", "chmod 600"},
		{"a secret that others can read", func(i *installation) {
			i.write("pass", []byte("a passphrase that is long enough"))
			i.config += "keys: {passphrase_file: pass}\n"
			i.chmod("pass", 0o644)
		}, "files", "fail", "mode 0644", "chmod 600"},
		{"a certificate", func(i *installation) { i.certificate(i.now.Add(-time.Hour), i.now.Add(year)) }, "certificate", "ok", "licence.example.com, until 2027-06-15 12:00:00 UTC", ""},
		{"a certificate near its end", func(i *installation) { i.certificate(i.now.Add(-time.Hour), i.now.Add(29*24*time.Hour)) }, "certificate", "warn", "ends in 29d", "renew"},
		{"a certificate that has ended", func(i *installation) { i.certificate(i.now.Add(-year), i.now) }, "certificate", "fail", "has ended", "renew"},
		{"a certificate of tomorrow", func(i *installation) { i.certificate(i.now.Add(time.Hour), i.now.Add(year)) }, "certificate", "fail", "is not valid before", "clock"},
		{"a certificate that is none", func(i *installation) {
			i.certificate(i.now, i.now.Add(year))
			i.write("cert.pem", []byte("nothing"))
		}, "certificate", "fail", "cannot be used", "PEM"},
		{"a clock that has gone back", func(i *installation) {
			if err := os.Chtimes(i.path("data/licensed.db"), i.now.Add(time.Hour), i.now.Add(time.Hour)); err != nil {
				i.t.Fatal(err)
			}
		}, "clock", "fail", "the store was changed at 2026-06-15 13:00:00 UTC", "set it right"},
		{"a damaged key set", func(i *installation) { i.write("data/keys/keyset.jwt", []byte("x.y.z")) }, "key set", "fail", "does not fit the anchors", "restore"},
		{"anchors of others", func(i *installation) {
			data, err := os.ReadFile(filepath.Join(other.Dir, anchorsFile))
			if err != nil {
				i.t.Fatal(err)
			}
			i.write("data/keys/anchors.json", data)
		}, "key set", "fail", "does not fit the anchors", "restore"},
		{"no key set", func(i *installation) { i.remove("data/keys/keyset.jwt") }, "key set", "fail", "cannot be read", "restore"},
		{"no keys", func(i *installation) { i.remove("data/keys") }, "key set", "warn", "there are no keys", "keys init"},
		{"a key set near its end", func(i *installation) { i.later(330 * 24 * time.Hour) }, "key set", "warn", "runs out in 69d", "keyset --request"},
		{"a key whose set names another", func(i *installation) { i.write("data/keys/state.json", []byte(`{"current":"x"}`)) }, "", "", "", ""},
		{"one anchor", func(i *installation) { i.cutAnchors() }, "standby anchor", "warn", "nothing ends it", "anchors_file"},
		{"anchors here", func(i *installation) { i.write("data/keys/anchors/primary.pem.age", []byte("x")) }, "anchors offline", "warn", "primary.pem.age", "offline"},
		{"an open folder", func(i *installation) { i.chmod("data", 0o755) }, "permissions", "fail", "(0755)", "chmod go="},
		{"an open identity", func(i *installation) { i.chmod("data/keys/identity", 0o644) }, "permissions", "fail", "identity (0644)", "chmod go="},
		{"a marketplace", func(i *installation) {
			i.write("ca.pem", ca)
			i.marketplace(shop.URL)
		}, "marketplace", "ok", "can be reached", ""},
		{"a store that is none", func(i *installation) { i.write("data/licensed.db", []byte("store")) }, "store", "fail", "not a bbolt database", "db restore"},
		{"an old backup", func(i *installation) {
			if err := os.RemoveAll(i.path("copies")); err != nil {
				i.t.Fatal(err)
			}
			i.write("copies/"+backup.Name(i.now.Add(-50*time.Hour)), []byte("copy"))
		}, "backups", "warn", "the newest of 1 in ", "db verify"},
		{"a marketplace that is not there", func(i *installation) {
			i.write("ca.pem", ca)
			i.marketplace("https://127.0.0.1:1")
		}, "marketplace", "fail", "koogallery cannot be reached: https://127.0.0.1:1", "ca_file"},
		{"a marketplace with another certificate", func(i *installation) {
			i.certificate(i.now, i.now.Add(year))
			i.config = strings.Replace(i.config, "public: {tls: {cert_file: cert.pem, key_file: key.pem}}\n", "", 1)
			data, err := os.ReadFile(i.path("cert.pem"))
			if err != nil {
				i.t.Fatal(err)
			}
			i.write("ca.pem", data)
			i.marketplace(shop.URL)
		}, "marketplace", "fail", "certificate", "ca_file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" && (strings.Contains(c.mention, "mode") || c.check == "permissions") {
				t.Skip("there are no such permissions on this system")
			}
			i := newInstallation(t)
			c.edit(i)
			exit, d := i.doctor()
			if want := c.result == checkFail; (exit == exitFailed) != want || (d.Failed > 0) != want {
				t.Errorf("exit %d, %d failed: %+v", exit, d.Failed, d.Checks)
			}
			for _, k := range d.Checks {
				switch {
				case k.Name == c.check:
					if k.Result != c.result || !strings.Contains(k.Detail, c.mention) || !strings.Contains(k.Mend, c.mend) {
						t.Errorf("%+v", k)
					}
				case k.Name == "daemon" && k.Result == checkWarn, k.Name == "disk":
				case k.Result != checkOK || k.Mend != "":
					t.Errorf("%+v", k)
				}
			}
			if c.check != "" && !slices.ContainsFunc(d.Checks, func(k check) bool { return k.Name == c.check }) {
				t.Errorf("there is no check %q: %+v", c.check, d.Checks)
			}
		})
	}
}

func (i *installation) chmod(name string, mode os.FileMode) {
	i.t.Helper()
	if err := os.Chmod(i.path(name), mode); err != nil {
		i.t.Fatal(err)
	}
}

func (i *installation) remove(name string) {
	i.t.Helper()
	if err := os.RemoveAll(i.path(name)); err != nil {
		i.t.Fatal(err)
	}
}

// cutAnchors leaves the first anchor only.
func (i *installation) cutAnchors() {
	i.t.Helper()
	data, err := os.ReadFile(i.path("data/keys/anchors.json"))
	if err != nil {
		i.t.Fatal(err)
	}
	var list struct {
		Anchors []json.RawMessage `json:"anchors"`
	}
	if err := json.Unmarshal(data, &list); err != nil || len(list.Anchors) < 2 {
		i.t.Fatal(err, len(list.Anchors))
	}
	list.Anchors = list.Anchors[:1]
	if data, err = json.Marshal(list); err != nil {
		i.t.Fatal(err)
	}
	i.write("data/keys/anchors.json", data)
}

// A data folder on a network file system is a failure, one of which nothing is known
// is none.
func TestDoctorFileSystem(t *testing.T) {
	for _, c := range []struct {
		remote, known bool
		want          string
	}{{false, false, ""}, {false, true, checkOK}, {true, true, checkFail}} {
		got := ""
		for _, k := range folderChecks("/srv/licensed", func(string) (string, bool, bool) { return "NFS", c.remote, c.known }) {
			got = k.Result
			if c.remote && (!strings.Contains(k.Detail, "/srv/licensed lies on a network file system (NFS)") || !strings.Contains(k.Mend, "data_dir")) {
				t.Errorf("%+v", k)
			}
		}
		if got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	if kind, remote, known := fileSystem(t.TempDir()); known && remote {
		t.Logf("the temporary folder lies on %s", kind)
	} else if _, _, missing := fileSystem(filepath.Join(t.TempDir(), "none")); missing {
		t.Error("a folder that is not there lies on a file system")
	}
}

// The table says the same as the document.
func TestDoctorTable(t *testing.T) {
	i := newInstallation(t)
	i.write("licensed.yaml", []byte(i.config))
	s := newScreen(t, "")
	if exit := s.run(t.Context(), []string{"licensectl", "doctor", "--config", i.path("licensed.yaml")}); exit != exitDone {
		t.Errorf("exit %d: %s", exit, &s.err)
	}
	for _, want := range []string{"configuration    ok    ", "daemon           warn  ", "key set          ok    no. 1, until ", "file system"} {
		if !bytes.Contains(s.out.Bytes(), []byte(want)) {
			t.Errorf("%q is missing in:\n%s", want, &s.out)
		}
	}
}
