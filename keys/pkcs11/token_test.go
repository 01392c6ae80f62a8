//go:build pkcs11

package pkcs11_test

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/keys/pkcs11"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// pin is that of all tokens here.
const pin = "1234-licensed"

// softHSM is where distributions have the module.
var softHSM = []string{
	"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so",
	"/opt/homebrew/lib/softhsm/libsofthsm2.so",
}

// missing is why there is nothing to test with.
var missing string

var (
	module string
	made   atomic.Int32 // tokens
)

func TestMain(m *testing.M) { os.Exit(withTokens(m.Run)) }

// withTokens makes a folder of tokens for the whole process: a module reads its
// configuration once.
func withTokens(run func() int) int {
	at := slices.IndexFunc(softHSM, func(path string) bool { _, err := os.Stat(path); return err == nil })
	if _, err := exec.LookPath("softhsm2-util"); at < 0 || err != nil {
		missing = "SoftHSM is not installed (the packages softhsm2 of Debian, softhsm of others)"
		return run()
	}
	module = softHSM[at]
	dir, err := os.MkdirTemp("", "softhsm")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	conf := filepath.Join(dir, "softhsm2.conf")
	text := "directories.tokendir = " + dir + "\nobjectstore.backend = file\nlog.level = ERROR\n"
	if err := errors.Join(os.WriteFile(conf, []byte(text), 0o600), os.Setenv("SOFTHSM2_CONF", conf)); err != nil {
		panic(err)
	}
	return run()
}

// newToken makes a token and returns what opens it.
func newToken(t *testing.T) pkcs11.Options {
	t.Helper()
	if missing != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(missing)
		}
		t.Skip(missing)
	}
	label := fmt.Sprintf("token-%d", made.Add(1))
	out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", label, "--pin", pin, "--so-pin", pin).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return pkcs11.Options{Module: module, TokenLabel: label, PIN: pin}
}

func open(t *testing.T, o pkcs11.Options) *pkcs11.Token {
	t.Helper()
	tok, err := pkcs11.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tok.Close(); err != nil {
			t.Error(err)
		}
	})
	return tok
}

func generate(t *testing.T, tok *pkcs11.Token) (string, crypto.Signer) {
	t.Helper()
	public, err := tok.Generate()
	if err != nil {
		t.Fatal(err)
	}
	kid := token.Thumbprint(public)
	s, err := tok.Signer(kid)
	if err != nil {
		t.Fatal(err)
	}
	return kid, s
}

func signs(s crypto.Signer, message string) error {
	sig, err := s.Sign(nil, []byte(message), crypto.Hash(0))
	if err == nil && !ed25519.Verify(s.Public().(ed25519.PublicKey), []byte(message), sig) {
		err = errors.New("the signature does not verify")
	}
	return err
}

// A key folder on a token: made, signed with, rotated, revoked, opened again; and
// what is retired is destroyed on the token.
func TestRing(t *testing.T) {
	o := newToken(t)
	tok := open(t, o)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ko := keys.Options{Issuer: "https://licence.example.com", Keystore: tok, Now: func() time.Time { return now }}
	dir := filepath.Join(t.TempDir(), "keys")
	made, err := keys.Init(dir, ko)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir, ko)
	if err != nil {
		t.Fatal(err)
	}
	works := func() {
		t.Helper()
		key, set := ring.Current()
		raw, err := token.SignTime(token.Time{Issuer: set.Issuer, IssuedAt: now, InstallID: key.ID, Nonce: "n"}, key)
		if err != nil {
			t.Fatal(err)
		}
		again, err := token.SignTime(token.Time{Issuer: set.Issuer, IssuedAt: now, InstallID: key.ID, Nonce: "n"}, key)
		if err != nil || again != raw {
			t.Errorf("the same content gets two signatures: %v", err)
		}
		if _, err := token.VerifyTime(raw, set, "", "n"); err != nil {
			t.Error(err)
		}
	}
	works()
	if _, err := ring.Rotate(now); err != nil {
		t.Fatal(err)
	}
	works()
	kids, err := tok.List()
	if err != nil || !slices.Equal(kids, []string{made.Next}) {
		t.Errorf("after a rotation the token has %v, %v; want %s", kids, err, made.Next)
	}
	unsigned, err := ring.ProposeKeySet(now, made.Next)
	if err != nil {
		t.Fatal(err)
	}
	anchor, err := keys.OpenAnchor(made.MoveOffline[0], keys.AnchorOptions{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := anchor.SignKeySet(unsigned, now)
	if err != nil {
		t.Fatal(err)
	}
	if err := ring.Install(set, now); err != nil {
		t.Fatal(err)
	}
	works()
	if _, err := tok.Signer(made.Next); license.ReasonOf(err) != license.NotFound {
		t.Errorf("the revoked key: %v", err)
	}
	if err := tok.Close(); err != nil {
		t.Fatal(err)
	}
	ko.Keystore = open(t, o)
	if ring, err = keys.Open(dir, ko); err != nil {
		t.Fatal(err)
	}
	works()
}

// Keys cannot be read out of the token.
func TestNotExtractable(t *testing.T) {
	o := newToken(t)
	tok := open(t, o)
	kid, _ := generate(t, tok)
	out, err := exec.CommandContext(t.Context(), "pkcs11-tool", "--module", module, "--token-label", o.TokenLabel, "--login", "--pin", pin,
		"--list-objects", "--type", "privkey").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") != "true" {
		t.Skip("pkcs11-tool is not installed (the package opensc)")
	}
	if err != nil || !strings.Contains(string(out), "sensitive, always sensitive, never extractable") || !strings.Contains(string(out), kid) {
		t.Errorf("%v: %s", err, out)
	}
}

// More signatures are asked for than there are sessions.
func TestConcurrency(t *testing.T) {
	o := newToken(t)
	o.Sessions = 3
	tok := open(t, o)
	_, s := generate(t, tok)
	var all sync.WaitGroup
	for n := range 16 {
		all.Go(func() {
			for i := range 20 {
				if err := signs(s, fmt.Sprint("message ", n, " ", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 4 {
		all.Go(func() {
			if _, err := tok.List(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// Sessions that were lost, and a module that was shut down, are found again, by
// whoever signs next; several at a time.
func TestLoss(t *testing.T) {
	o := newToken(t)
	tok := open(t, o)
	_, s := generate(t, tok)
	other := p11.New(module) // the same library in the same process
	defer other.Destroy()
	lose := map[string]func() error{
		"sessions": func() error {
			slots, err := other.GetSlotList(true)
			for _, slot := range slots {
				err = errors.Join(err, other.CloseAllSessions(slot))
			}
			return err
		},
		"module": other.Finalize,
	}
	for name, do := range lose {
		if err := do(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := signs(s, "after a loss"); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		all.Wait()
	}
	if err := tok.Close(); err != nil {
		t.Fatal(err)
	}
	if err := signs(s, "after the end"); err == nil {
		t.Error("a closed token signs")
	}
}

// Installations with labels of their own share a token, and do not see each other's keys.
func TestLabels(t *testing.T) {
	o := newToken(t)
	a := open(t, o)
	mine, _ := generate(t, a)
	o.KeyLabel = "licensed-staging"
	b := open(t, o)
	theirs, _ := generate(t, b)
	for tok, want := range map[*pkcs11.Token]string{a: mine, b: theirs} {
		if kids, err := tok.List(); err != nil || !slices.Equal(kids, []string{want}) {
			t.Errorf("%v, %v; want %s", kids, err, want)
		}
	}
	if err := a.Destroy(theirs); err != nil {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := b.Signer(theirs); err != nil {
		t.Errorf("another's key is gone: %v", err)
	}
	if got := a.Where(mine); !strings.Contains(got, mine) || !strings.Contains(got, o.TokenLabel) {
		t.Errorf("where: %q", got)
	}
}

// What is configured wrongly is named; a PIN never is, and is tried once.
func TestWrongOptions(t *testing.T) {
	o := newToken(t)
	for name, c := range map[string]struct {
		edit func(*pkcs11.Options)
		want string
	}{
		"no module":    {func(o *pkcs11.Options) { o.Module = "" }, "module is missing"},
		"not a module": {func(o *pkcs11.Options) { o.Module = "/nowhere.so" }, "/nowhere.so cannot be loaded"},
		"no label":     {func(o *pkcs11.Options) { o.TokenLabel = "" }, "label of the token is missing"},
		"other label":  {func(o *pkcs11.Options) { o.TokenLabel = "nobody's" }, `no token labelled "nobody's"`},
		"no PIN":       {func(o *pkcs11.Options) { o.PIN = "" }, "PIN of the token is missing"},
		"wrong PIN":    {func(o *pkcs11.Options) { o.PIN = "secret-wrong" }, "log in to the token " + o.TokenLabel},
		"sessions":     {func(o *pkcs11.Options) { o.Sessions = 65 }, "65 sessions"},
	} {
		bad := o
		c.edit(&bad)
		tok, err := pkcs11.Open(bad)
		if err == nil {
			_ = tok.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret-wrong") {
			t.Errorf("%s: %v", name, err)
		}
	}
	open(t, o)
}
