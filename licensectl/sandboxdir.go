package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// The files of a sandbox's folder.
const (
	caFile          = "ca.pem"     // which a merchant trusts
	caKeyFile       = "ca-key.pem" // of the sandbox alone
	tokenFile       = "control-token"
	accessKeyFile   = "access-key"
	accessKeyIDFile = "ak"
	secretKeyFile   = "sk"
)

// marketDir is the folder of a sandbox. Its keys stay the same from start to
// start, so that a merchant is configured once.
type marketDir struct {
	dir  string
	kept map[string]string // by file; what is not there was missing
}

// readMarketDir reads what there is. Files that are broken, or that others than
// the owner may read, are errors and stay as they are.
func readMarketDir(dir string) (*marketDir, error) {
	d := &marketDir{dir: dir, kept: make(map[string]string)}
	ca, err := readFile(d.path(caFile))
	switch {
	case err == nil:
		d.kept[caFile] = string(ca)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", d.path(caFile), err)
	}
	for _, name := range []string{caKeyFile, tokenFile, accessKeyFile, accessKeyIDFile, secretKeyFile} {
		secret, err := config.ReadSecret(d.path(name))
		switch text := secret.Reveal(); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case name != caKeyFile && strings.ContainsAny(text, "\r\n\x00"):
			return nil, fmt.Errorf("%s has more than one line, which no key of a sandbox has; move it away to have a new one made", d.path(name))
		default:
			d.kept[name] = text
		}
	}
	return d, nil
}

func (d *marketDir) path(name string) string { return filepath.Join(d.dir, name) }

// keys are those that were kept.
func (d *marketDir) keys() (sandbox.Keys, error) {
	secret := func(name string) sandbox.Token { return sandbox.NewToken(d.kept[name]) }
	k := sandbox.Keys{
		CAPEM: []byte(d.kept[caFile]), CAKeyPEM: secret(caKeyFile), AccessKeyID: d.kept[accessKeyIDFile], SecretAccessKey: secret(secretKeyFile),
		AccessKey: secret(accessKeyFile), ControlToken: secret(tokenFile),
	}
	_, hasCert := d.kept[caFile]
	_, hasKey := d.kept[caKeyFile]
	if hasCert != hasKey {
		return k, usagef("--dir: of %s and %s only one is there; move it away to have both made", d.path(caFile), d.path(caKeyFile))
	}
	if hasCert && len(k.CAPEM) == 0 {
		return k, usagef("--dir: %s is empty; move it and %s away to have both made", d.path(caFile), d.path(caKeyFile))
	}
	if err := k.Check(); err != nil {
		return k, usagef("--dir: %s and %s: %v; move both away to have them made", d.path(caFile), d.path(caKeyFile), err)
	}
	return k, nil
}

// complete writes what was missing, and the access key where another one was
// named: the folder always tells what the sandbox uses.
func (d *marketDir) complete(s *sandbox.Sandbox) error {
	if err := durable.MkdirAll(d.dir); err != nil {
		return err
	}
	k := s.Keys()
	for _, f := range []struct {
		name, text string
		perm       fs.FileMode
	}{
		{caKeyFile, k.CAKeyPEM.Reveal(), 0o600},
		{caFile, string(k.CAPEM), 0o644},
		{tokenFile, k.ControlToken.Reveal() + "\n", 0o600},
		{accessKeyFile, k.AccessKey.Reveal() + "\n", 0o600},
		{accessKeyIDFile, k.AccessKeyID + "\n", 0o600},
		{secretKeyFile, k.SecretAccessKey.Reveal() + "\n", 0o600},
	} {
		if kept, ok := d.kept[f.name]; ok && (f.name != accessKeyFile || kept == k.AccessKey.Reveal()) {
			continue
		}
		if err := durable.WriteFile(d.path(f.name), []byte(f.text), f.perm); err != nil {
			return err
		}
	}
	return nil
}
