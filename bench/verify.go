package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license/token"
)

// files returns two licence files of one product and the key that signed them.
func (s *site) files(ctx context.Context) (a, b []byte, raws [2]string, signer ed25519.PublicKey, err error) {
	w, err := s.activations(ctx)
	if err != nil {
		return nil, nil, raws, nil, err
	}
	file := func(i int) []byte {
		ans := w.items[i].answer
		raws[i] = ans.License
		return token.File{Licenses: []string{ans.License}, KeySets: []string{ans.Keys}, Times: []string{ans.Time}}.Marshal()
	}
	a, b = file(0), file(1)
	key, _ := s.ring.KeySet().Key(s.ring.Signing().ID)
	return a, b, raws, key.Public, nil
}

// bareVerify is one ed25519.Verify, base64, and one JSON decode of the claims.
func bareVerify(raw string, pub ed25519.PublicKey) (licenseClaims, error) {
	var c licenseClaims
	head, rest, _ := strings.Cut(raw, ".")
	body, signature, _ := strings.Cut(rest, ".")
	if _, err := b64.DecodeString(head); err != nil {
		return c, err
	}
	sig, err := b64.DecodeString(signature)
	if err != nil {
		return c, err
	}
	if !ed25519.Verify(pub, []byte(raw[:len(head)+1+len(body)]), sig) {
		return c, errForged
	}
	return c, decode(body, &c)
}

// batch is how many verifications are timed together.
const batch = 50

// measureVerify is client.Verify of whole licence files whose key set is known,
// against the least that a verifier has to do. Two files take turns, since the
// same bytes again are not verified again; those are the second line.
func measureVerify(ctx context.Context, s *site) ([]line, error) {
	a, b, raws, pub, err := s.files(ctx)
	if err != nil {
		return nil, err
	}
	files := [2][]byte{a, b}
	v := client.Verifier{Anchors: s.ring.Anchors(), Product: product}
	once := func(do func(i int) error) (time.Duration, error) {
		begin := time.Now()
		for i := range batch {
			if err := do(i); err != nil {
				return 0, err
			}
		}
		return time.Since(begin) / batch, nil
	}
	var fresh, again, bare []time.Duration
	var ratios, repeats []float64
	for range s.sizes.verifies {
		t, err := once(func(i int) error { _, err := bareVerify(raws[i%2], pub); return err })
		if err != nil {
			return nil, err
		}
		u, err := once(func(i int) error { _, err := v.Verify(files[i%2]); return err })
		if err != nil {
			return nil, err
		}
		if _, err := v.Verify(a); err != nil {
			return nil, err
		}
		w, err := once(func(int) error { _, err := v.Verify(a); return err })
		if err != nil {
			return nil, err
		}
		bare, fresh, again = append(bare, t), append(fresh, u), append(again, w)
		ratios, repeats = append(ratios, float64(u)/float64(t)), append(repeats, float64(w)/float64(t))
	}
	const what = "bare: ed25519.Verify, base64, one JSON decode"
	return []line{
		{
			path: "client.Verify, key set known", product: duration(median(fresh)), bare: duration(median(bare)),
			ratio: median(ratios), limit: 1.25, most: true, note: what,
		},
		{
			path: "client.Verify, the same bytes again", product: duration(median(again)), bare: duration(median(bare)),
			ratio: median(repeats), limit: 0.05, most: true, note: what,
		},
	}, nil
}

// measureCold is a process that verifies a file and collects the fingerprint of
// the machine, against one that does nothing.
func measureCold(ctx context.Context, s *site) ([]line, error) {
	a, _, _, _, err := s.files(ctx)
	if err != nil {
		return nil, err
	}
	anchors, err := token.MarshalAnchors(s.ring.Anchors())
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.WriteFile(s.path("a.lic"), a, 0o600), os.WriteFile(s.path("anchors.json"), anchors, 0o600)); err != nil {
		return nil, err
	}
	programs := [2]string{}
	for i, name := range []string{"cold", "empty"} {
		if programs[i], err = s.build(ctx, "bench/"+name, name); err != nil {
			return nil, err
		}
	}
	l, err := s.started(ctx, "cold process: verify, fingerprint", [2][]string{
		{programs[0], s.path("a.lic"), s.path("anchors.json"), product}, {programs[1]},
	})
	l.note = "the ratio is milliseconds more than an empty program"
	return []line{l}, err
}

// started starts two programs by turns, the second of which does less.
func (s *site) started(ctx context.Context, path string, commands [2][]string) (line, error) {
	var spent [2][]time.Duration
	var more []time.Duration
	for range s.sizes.cold {
		var took [2]time.Duration
		for i, command := range commands {
			begin := time.Now()
			cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // built by this program
			cmd.Env = append(os.Environ(), fingerprint.CustomVariable+"="+machineID)
			if out, err := cmd.CombinedOutput(); err != nil {
				return line{}, fmt.Errorf("%s: %w\n%s", command[0], err, out)
			}
			took[i] = time.Since(begin)
			spent[i] = append(spent[i], took[i])
		}
		more = append(more, took[0]-took[1])
	}
	extra := median(more)
	return line{
		path: path, product: duration(median(spent[0])), bare: duration(median(spent[1])),
		ratio: float64(extra) / float64(time.Millisecond), limit: 2, most: true,
	}, nil
}
