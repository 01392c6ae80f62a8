package authority

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// trialPrefix begins the names of the values that say which components of
// machines had a trial.
const trialPrefix = "trial/"

// trialKey is where a component is remembered. What names it is a keyed digest:
// without the data key nobody can tell from the store whose machine it is, or
// whether a machine had a trial.
func (c *call) trialKey(product string, of license.Component) (string, error) {
	code, err := license.ParseCode("trial of " + product + " " + string(of.Kind) + " " + string(of.Digest))
	if err != nil {
		return "", fmt.Errorf("digest a component: %w", err)
	}
	return trialPrefix + product + "/" + hex.EncodeToString(c.a.codes.Index(code)), nil
}

// tryOut refuses a trial on a machine that had as many as the product allows, and
// remembers the machine of one that is activated.
func (c *call) tryOut(ctx context.Context, tx store.Tx, l license.License) error {
	if !l.Trial {
		return nil
	}
	components := license.TrialComponents(c.req.Fingerprint)
	marks, keys := make(map[license.Component]license.TrialMark), make(map[license.Component]string)
	for _, of := range components {
		key, err := c.trialKey(l.Product, of)
		if err != nil {
			return err
		}
		m, err := readValue[license.TrialMark](ctx, tx, key)
		if err != nil {
			return err
		}
		keys[of], marks[of] = key, m.Remembered(c.product.Trial.Remember, c.now)
	}
	if most := c.product.Trial.PerMachine; most > 0 && license.Trials(marks, l.ID) >= most {
		return license.Errorf(license.TrialUsed, "this machine has had its trial of %s already; please buy a licence", c.product.Name)
	}
	for _, of := range components {
		if err := writeValue(ctx, tx, keys[of], marks[of].With(l.ID, c.now)); err != nil {
			return fmt.Errorf("remember the machine of a trial: %w", err)
		}
	}
	return nil
}
