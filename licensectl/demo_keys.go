package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// rotateKey moves to the next signing key, and shows that nobody notices.
func (d *demonstration) rotateKey(ctx context.Context) error {
	old := d.copyA.File()
	before := d.copyA.License().Claims().KeyID
	d.command("licensectl keys rotate")
	r, err := d.admin.Rotate(ctx)
	if err != nil {
		return fmt.Errorf("rotate: %w", err)
	}
	if r.Retired != before {
		return fmt.Errorf("the key %s should be retired, and %s is", before, r.Retired)
	}
	verifier := client.Verifier{Anchors: d.anchors, Product: demoProduct}
	if _, err := verifier.Verify(old); err != nil {
		return fmt.Errorf("verify a licence of before: %w", err)
	}
	if err := expectUsable(d.copyA); err != nil {
		return err
	}
	d.ok("the licence of before, signed by %s…, still verifies", before[:8])
	if err := d.copyA.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh after the rotation: %w", err)
	}
	if got := d.copyA.License().Claims().KeyID; got != r.Current {
		return fmt.Errorf("the new licence should be signed by %s, and is by %s", r.Current, got)
	}
	if _, err := verifier.Verify(d.copyA.File()); err != nil {
		return fmt.Errorf("verify a licence of after: %w", err)
	}
	d.ok("the next call home brings one signed by %s…, which the shipped product knew as the next key", r.Current[:8])
	return nil
}

// ceremony makes, signs and installs the next key set.
func (d *demonstration) ceremony(ctx context.Context, anchor string) error {
	proposal, err := d.admin.Proposal(ctx)
	if err != nil {
		return fmt.Errorf("request the next key set: %w", err)
	}
	a, err := keys.OpenAnchor(d.path("data", "keys", "anchors", anchor), keys.AnchorOptions{})
	if err != nil {
		return fmt.Errorf("open the anchor: %w", err)
	}
	signed, err := a.SignKeySet(proposal.KeySet, d.now())
	if err != nil {
		return fmt.Errorf("sign the key set: %w", err)
	}
	if _, err := d.admin.InstallKeySet(ctx, signed); err != nil {
		return fmt.Errorf("install the key set: %w", err)
	}
	return nil
}

// loseKey is the drill for a signing key that somebody else holds: the one that
// signs, while there is none to rotate to.
func (d *demonstration) loseKey(ctx context.Context) error {
	stolen, before := d.copyA.License().Claims().KeyID, d.copyA.File()
	d.say("The key %s…, which signs, turns out to be in strange hands; the next one is not made yet.", stolen[:8])
	d.command("licensectl keys revoke %s --reason \"in strange hands\" -o next.json", stolen)
	if _, err := d.admin.RevokeKeys(ctx, "in strange hands", stolen); err != nil {
		return fmt.Errorf("mark the stolen key: %w", err)
	}
	affected, err := countAffected(ctx, d.admin, byCustomer, nil)
	if err != nil {
		return fmt.Errorf("list who must refresh: %w", err)
	}
	if affected.Installs == 0 {
		return fmt.Errorf("no install is known to hold a licence by %s", stolen)
	}
	d.command("licensectl keys affected")
	d.ok("%s", affectedText(affected))
	d.say("Where the anchors are kept, offline:")
	d.command("licensectl keys keyset --sign next.json --anchor primary.pem.age -o next.jwt")
	d.command("licensectl keys keyset --install next.jwt")
	if err := d.ceremony(ctx, "primary.pem.age"); err != nil {
		return err
	}
	if err := d.refreshAffected(ctx, affected); err != nil {
		return err
	}
	verifier := client.Verifier{Anchors: d.anchors, Product: demoProduct, Keys: keySetOf(d.copyA)}
	_, err = verifier.Verify(before)
	if err := expectReason(err, license.Forged); err != nil {
		return err
	}
	d.ok("what the stolen key has signed is refused from now on (%s), though its own file brings the old key set", license.Forged)
	return nil
}

// refreshAffected has the product call home, after which it is not among those
// that must refresh any more.
func (d *demonstration) refreshAffected(ctx context.Context, before affectedCounts) error {
	if err := d.copyA.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh after the revocation of a key: %w", err)
	}
	if err := expectUsable(d.copyA); err != nil {
		return err
	}
	d.ok("the product calls home: licensed, by a key set without it")
	d.command("licensectl keys drill")
	after, err := countAffected(ctx, d.admin, byCustomer, nil)
	if err != nil {
		return fmt.Errorf("list who must refresh: %w", err)
	}
	if after.Installs != before.Installs-1 {
		return fmt.Errorf("%d installs must refresh, and %d must after one has", before.Installs, after.Installs)
	}
	d.ok("who holds a licence by it is listed until they have called: %d before, %d now", before.Installs, after.Installs)
	return nil
}

func keySetOf(g *client.Guard) string {
	f, err := token.ParseFile(g.File())
	if err != nil || len(f.KeySets) == 0 {
		return ""
	}
	return f.KeySets[0]
}

// loseAnchor is the drill for a primary anchor that somebody else holds.
func (d *demonstration) loseAnchor(ctx context.Context) error {
	d.say("The primary anchor is stolen. The standby, which every shipped product knows as well, takes over. Offline:")
	d.command("licensectl keys keyset --sign next.json --anchor standby.pem.age -o next.jwt")
	thief, err := d.thiefSet()
	if err != nil {
		return err
	}
	if err := d.ceremony(ctx, "standby.pem.age"); err != nil {
		return err
	}
	if err := d.copyA.Refresh(ctx); err != nil {
		return fmt.Errorf("refresh after the standby took over: %w", err)
	}
	if err := expectUsable(d.copyA); err != nil {
		return err
	}
	d.ok("the product calls home and has the standby's key set")
	held := keySetOf(d.copyA)
	if err := d.copyA.Import(token.File{KeySets: []string{thief}}.Marshal()); err == nil {
		return fmt.Errorf("a file with nothing but the thief's key set was taken")
	}
	if got := keySetOf(d.copyA); got != held {
		return fmt.Errorf("the product has taken the thief's key set")
	}
	_, err = d.admin.InstallKeySet(ctx, thief)
	if err == nil {
		return fmt.Errorf("the server has taken the thief's key set")
	}
	d.ok("the thief's key set, by the primary and with a far higher number, is refused by product and server")
	return expectUsable(d.copyA)
}

// thiefSet is a key set that the thief of the primary anchor signs: with a key
// of the thief's own, and a number that no set will ever have.
func (d *demonstration) thiefSet() (string, error) {
	set, err := token.VerifyKeySet(keySetOf(d.copyA), d.anchors)
	if err != nil {
		return "", fmt.Errorf("read the key set: %w", err)
	}
	set.Seq += 1_000_000
	unsigned, err := set.MarshalUnsigned()
	if err != nil {
		return "", fmt.Errorf("write the thief's key set: %w", err)
	}
	a, err := keys.OpenAnchor(d.path("data", "keys", "anchors", "primary.pem.age"), keys.AnchorOptions{})
	if err != nil {
		return "", fmt.Errorf("open the stolen anchor: %w", err)
	}
	signed, err := a.SignKeySet(unsigned, d.now())
	if err != nil {
		return "", fmt.Errorf("sign the thief's key set: %w", err)
	}
	return strings.TrimSpace(signed), nil
}
