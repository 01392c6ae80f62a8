package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// How long before its end a certificate is worth a warning, and how long a marketplace
// may take to answer.
const (
	warnCertificate = 30 * 24 * time.Hour
	reachWithin     = 5 * time.Second
)

// configChecks looks at a configuration and at the files that it names, and returns it
// where it can be read.
func configChecks(path string, now time.Time) (config.Config, bool, []check) {
	const name = "configuration"
	c, err := config.Load(path, os.Environ(), nil)
	if err != nil {
		return c, false, []check{{name, checkFail, path + " cannot be used: " + oneLine(err.Error()), "mend these lines; licensed check-config --config " + path + " says whether it is right"}}
	}
	list := []check{{Name: name, Result: checkOK, Detail: path + " can be used"}}
	if err := c.CheckFiles(); err != nil {
		list = append(list, check{"files", checkFail, oneLine(err.Error()), "make these files be there, and readable for the daemon's user; those with secrets for nobody else (chmod 600)"})
	} else {
		list = append(list, check{Name: "files", Result: checkOK, Detail: "what the configuration names is there, and secrets are for the daemon's user only"})
	}
	for _, t := range []struct {
		listener string
		tls      config.TLS
	}{{"public", c.Public.TLS}, {"admin", config.TLS{CertFile: c.Admin.TLS.CertFile, KeyFile: c.Admin.TLS.KeyFile}}} {
		if t.tls.Enabled() {
			list = append(list, certificateCheck(t.listener, t.tls, now))
		}
	}
	return c, true, list
}

// certificateCheck looks at the certificate of a listener.
func certificateCheck(listener string, files config.TLS, now time.Time) check {
	const name, mend = "certificate", "renew it; the daemon takes the new files without a restart"
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return check{name, checkFail, fmt.Sprintf("that of the %s listener cannot be used: %v", listener, err), "put a certificate and its key, both as PEM, at the paths that the configuration names"}
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return check{name, checkFail, fmt.Sprintf("that of the %s listener cannot be read: %v", listener, err), mend}
	}
	detail := fmt.Sprintf("that of the %s listener, for %s, ", listener, strings.Join(leaf.DNSNames, ", "))
	switch left := leaf.NotAfter.Sub(now); {
	case now.Before(leaf.NotBefore):
		return check{name, checkFail, detail + "is not valid before " + when(&leaf.NotBefore, ""), "set the clock right, or get another one"}
	case left <= 0:
		return check{name, checkFail, detail + "has ended, on " + when(&leaf.NotAfter, ""), mend}
	case left < warnCertificate:
		return check{name, checkWarn, detail + "ends in " + roughly(left), mend}
	}
	return check{Name: name, Result: checkOK, Detail: detail + "until " + when(&leaf.NotAfter, "")}
}

// stoppedChecks is what can be seen of an installation without its daemon.
func stoppedChecks(ctx context.Context, c config.Config, now time.Time) []check {
	var list []check
	store, isFile := strings.CutPrefix(c.Store, "bolt:")
	s := adminwire.Status{DataDir: c.DataDir, Store: c.Store, Now: now}
	if info, err := os.Stat(store); isFile && err == nil {
		s.StoreBytes = info.Size()
		list = append(list, storedClock(info.ModTime(), now))
	}
	list = append(list, storeFileCheck(ctx, c)...)
	list = append(list, backupFilesCheck(c, now))
	list = append(list, keyFileChecks(filepath.Join(c.DataDir, "keys"), c.Keys.AnchorsFile, now)...)
	if info, err := os.Stat(c.DataDir); err == nil && info.IsDir() {
		list = append(list, permissions(s, "")...)
		list = append(list, folderChecks(c.DataDir, fileSystem)...)
		if free, total, err := durable.Space(c.DataDir); err == nil {
			s.Disk = &adminwire.Disk{Free: free, Total: total}
			list = append(list, diskCheck(s)...)
		}
	} else if errors.Is(err, fs.ErrNotExist) {
		list = append(list, check{"data folder", checkWarn, "there is no " + c.DataDir + " yet", "start licensed serve, which makes it, or licensectl keys init"})
	}
	for _, m := range c.Marketplaces {
		if m.OpenAPI.Enabled() {
			list = append(list, reachCheck(ctx, m))
		}
	}
	return list
}

// storedClock compares the clock with the last change of the store.
func storedClock(changed, now time.Time) check {
	const name = "clock"
	if changed.Sub(now) > time.Minute {
		return check{name, checkFail, fmt.Sprintf("it shows %s, and the store was changed at %s", when(&now, ""), when(&changed, "")), "set it right before the daemon is started: it signs nothing under a clock that has gone back"}
	}
	return check{Name: name, Result: checkOK, Detail: "it shows " + when(&now, "") + ", after the last change of the store"}
}

// keyFileChecks judges a key folder by what is not sealed in it.
func keyFileChecks(dir, anchorsPath string, now time.Time) []check {
	const mendKeys = "restore the folder from a backup, or make new keys with licensectl keys init"
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return []check{{"key set", checkWarn, "there are no keys at " + dir + " yet", "start licensed serve, which makes them, or licensectl keys init"}}
	}
	if anchorsPath == "" {
		anchorsPath = filepath.Join(dir, anchorsFile)
	}
	raw, err := readFile(filepath.Join(dir, "keyset.jwt"))
	if err != nil {
		return []check{{"key set", checkFail, "it cannot be read: " + err.Error(), mendKeys}}
	}
	data, err := readFile(anchorsPath)
	if err != nil {
		return []check{{"key set", checkFail, "the anchors cannot be read: " + err.Error(), mendKeys}}
	}
	anchors, err := token.ParseAnchors(data)
	var set token.KeySet
	if err == nil {
		set, err = token.VerifyKeySet(strings.TrimSpace(string(raw)), anchors)
	}
	if err != nil {
		return []check{{"key set", checkFail, "it does not fit the anchors in " + anchorsPath + ": " + detailOf(err), mendKeys}}
	}
	held, err := filepath.Glob(filepath.Join(dir, "anchors", "*"))
	if err != nil {
		held = nil // the pattern is right
	}
	s := adminwire.Status{Now: now, Keys: adminwire.KeyHealth{
		Seq: set.Seq, ExpiresAt: set.ExpiresAt, Standbys: len(anchors) - 1 - set.Rank, AnchorsPresent: held,
	}}
	current := currentKey(dir, set)
	s.Keys.CurrentUntil = current.NotAfter
	all := keyChecks(s)
	list := []check{all[0], all[3], all[4]} // what the sealed files say is not known here
	if current.ID != "" {
		list = slices.Insert(list, 1, untilCheck("signing key", "the last that signed, "+current.ID, now, current.NotAfter))
	}
	return list
}

// currentKey is the key of a set that signs by the state file of its folder; without
// an ID where that cannot be said.
func currentKey(dir string, set token.KeySet) token.Key {
	var state struct {
		Current string `json:"current"`
	}
	raw, err := readFile(filepath.Join(dir, "state.json"))
	if err != nil || json.Unmarshal(raw, &state) != nil {
		return token.Key{}
	}
	i := slices.IndexFunc(set.Keys, func(k token.Key) bool { return k.ID == state.Current })
	if i < 0 {
		return token.Key{}
	}
	return set.Keys[i]
}

// folderChecks finds out whether the data folder lies where a store is not safe.
func folderChecks(dir string, fileSystem func(string) (kind string, remote, known bool)) []check {
	const name = "file system"
	kind, remote, known := fileSystem(dir)
	switch {
	case !known:
		return nil
	case remote:
		return []check{{
			name, checkFail, dir + " lies on a network file system (" + kind + "): its locks and its writes are not what a store needs",
			"stop the daemon, move the data folder to a local disk and name it in data_dir; for several machines use a database server",
		}}
	}
	return []check{{Name: name, Result: checkOK, Detail: "the data folder lies on a local disk"}}
}

// reachCheck tries to speak TLS with a marketplace.
func reachCheck(ctx context.Context, m config.Marketplace) check {
	const name = "marketplace"
	roots, err := rootsOf(m.OpenAPI.CAFile)
	if err != nil {
		return check{name, checkFail, m.Name + ": " + err.Error(), "name a file with certificates in open_api.ca_file"}
	}
	var wrong []string
	for _, base := range m.OpenAPI.BaseURLs {
		if err := reach(ctx, base, roots); err != nil {
			wrong = append(wrong, base+": "+oneLine(err.Error()))
			continue
		}
		return check{Name: name, Result: checkOK, Detail: m.Name + ": " + base + " can be reached"}
	}
	return check{name, checkFail, m.Name + " cannot be reached: " + strings.Join(wrong, "; "), "let this machine out to these addresses, or name the proxy's certificate authority in open_api.ca_file"}
}

func rootsOf(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil //nolint:nilnil // none means the system's
	}
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("there is no certificate in %s", path)
	}
	return pool, nil
}

func reach(ctx context.Context, base string, roots *x509.CertPool) error {
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	port := u.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, reachWithin)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	return conn.Close()
}

// detailOf is what an error says to people.
func detailOf(err error) string {
	if e, ok := errors.AsType[*license.Error](err); ok && e.Detail != "" {
		return e.Detail
	}
	return err.Error()
}
