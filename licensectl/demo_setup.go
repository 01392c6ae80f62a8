package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// openMarket starts the stand-in marketplace and puts its keys into files, as
// a merchant would those of the seller console.
func (d *demonstration) openMarket(ctx context.Context) error {
	m, err := sandbox.New(sandbox.Options{
		Products: []sandbox.Product{{ID: demoOffer, Name: "CAD Pro"}}, RetryInterval: time.Second, Now: d.now,
	})
	if err != nil {
		return fmt.Errorf("make the marketplace: %w", err)
	}
	d.market = m
	if err := m.Start(ctx); err != nil {
		return fmt.Errorf("start the marketplace: %w", err)
	}
	for name, secret := range map[string]string{
		"access-key": m.AccessKey().Reveal(), "ak": m.AccessKeyID(), "sk": m.SecretAccessKey().Reveal(), "ca.pem": string(m.CAPEM()),
	} {
		if err := durable.MkdirAll(d.path("secrets")); err != nil {
			return err
		}
		if err := durable.WriteFile(d.path("secrets", name), []byte(secret), 0o600); err != nil {
			return err
		}
	}
	d.say("A stand-in for the Huawei Cloud marketplace runs at %s and sells %s.", m.URL(), demoOffer)
	d.say("Its keys, which a merchant gets from the seller console, lie in secrets/.")
	return nil
}

// demoConfig is the merchant's configuration.
const demoConfig = `data_dir: data
issuer: https://licence.example.com
public: {listen: "127.0.0.1:0"}              # any free port
ops: {listen: "127.0.0.1:0"}
marketplaces:
  - name: koogallery
    access_key_files: [secrets/access-key]   # verifies its calls
    open_api:
      base_urls: [%s]
      ca_file: secrets/ca.pem
      access_key_id_file: secrets/ak         # signs our calls
      secret_access_key_file: secrets/sk
products:
  - id: %s
    marketplace_products: [%s]
    features: {export: true, projects: 10}
    machines: 1
`

func (d *demonstration) openDaemon(ctx context.Context) error {
	text := fmt.Sprintf(demoConfig, d.market.URL(), demoProduct, demoOffer)
	if err := durable.WriteFile(d.path("licensed.yaml"), []byte(text), 0o644); err != nil {
		return err
	}
	d.say("The merchant's whole configuration, licensed.yaml:")
	d.listing(text)
	if err := d.startDaemon(ctx, ""); err != nil {
		return err
	}
	s, err := d.admin.Status(ctx)
	if err != nil {
		return fmt.Errorf("ask how the daemon is doing: %w", err)
	}
	if !s.Ready {
		return errors.New("the daemon is not ready")
	}
	raw, err := d.admin.Anchors(ctx)
	if err != nil {
		return fmt.Errorf("get the anchors: %w", err)
	}
	if d.anchors, err = token.ParseAnchors(raw); err != nil {
		return fmt.Errorf("read the anchors: %w", err)
	}
	d.say("The daemon serves installs and the marketplace at %s and staff at a socket.", d.public())
	d.say("At this first start it made its keys. The product compiles in the public halves of the two anchors:")
	for i, a := range d.anchors {
		d.say("  %-8s %s", rankName(i), token.Thumbprint(a))
	}
	d.ok("ready; key set no. %d is valid until %s", s.Keys.Seq, s.Keys.ExpiresAt.UTC().Format(time.DateOnly))
	return nil
}

func (d *demonstration) issue(ctx context.Context) error {
	d.command("licensectl issue --product %s --customer 'Example Ltd' --for 365d", demoProduct)
	made, err := d.admin.Issue(ctx, adminwire.Issue{Product: demoProduct, Customer: "Example Ltd", For: "365d"})
	if err != nil {
		return fmt.Errorf("issue: %w", err)
	}
	if len(made.Licenses) != 1 {
		return fmt.Errorf("asked for one licence and got %d", len(made.Licenses))
	}
	d.manualLic = made.Licenses[0]
	d.manualCode = d.manualLic.Code
	code, err := license.ParseCode(d.manualCode)
	if err != nil || !code.Own() {
		return errors.New("the code has not the form of our codes")
	}
	d.say("For a customer who buys directly. The code, shown this once: %s", d.manualCode)
	return d.expectState(ctx, d.manualLic.ID, license.StateIssued)
}

func (d *demonstration) buy(ctx context.Context) error {
	order, err := d.market.Buy(ctx, demoOffer, 1, demoYear)
	if err != nil {
		return fmt.Errorf("buy: %w", err)
	}
	d.order, d.boughtCode = order, order.Code.Reveal()
	d.say("A buyer pays for one year (order %s) and gets the code %s", order.ID, d.boughtCode)
	_, err = d.admin.Lookup(ctx, d.boughtCode)
	if err := expectReason(err, license.UnknownLicense); err != nil {
		return err
	}
	d.ok("the merchant's server has not heard of it: the marketplace tells nobody about a purchase")
	return nil
}

// lookAtMachine makes sure that there is something to bind to.
func (d *demonstration) lookAtMachine(ctx context.Context) error {
	set, err := fingerprint.Collect(ctx)
	if err != nil {
		return fmt.Errorf("look at this machine: %w", err)
	}
	if !bindable(set) {
		id := "demo-" + strings.ToLower(rand.Text()[:12])
		d.say("Nothing identifies this machine (%s): a container shows its host's hardware, and its image's id.", environmentName(set))
		d.say("There an administrator supplies an id; the demo does so itself: %s=%s", fingerprint.CustomVariable, id)
		collector := fingerprint.Collector{Getenv: func(name string) string {
			if name == fingerprint.CustomVariable {
				return id
			}
			return d.p.getenv(name)
		}}
		d.machine = collector.Collect
		if set, err = d.machine(ctx); err != nil {
			return fmt.Errorf("look at this machine: %w", err)
		}
	}
	if !bindable(set) {
		return errors.New("there is too little on this machine to bind a licence to")
	}
	fp := set.Digests(demoProduct)
	var kinds []string
	for _, kind := range license.Kinds() {
		if n := len(fp.Components[kind]); n > 0 {
			kinds = append(kinds, fmt.Sprintf("%s (%d)", kind, n))
		}
	}
	d.say("Environment: %s. It shows: %s. Only salted digests of them leave it.", environmentName(set), strings.Join(kinds, ", "))
	d.ok("enough to recognise it again")
	return nil
}

func bindable(set fingerprint.Set) bool {
	_, err := license.Bind(license.PolicyFuzzy, set.Digests(demoProduct))
	return err == nil
}

func environmentName(set fingerprint.Set) string {
	if set.Environment == "" {
		return "not known"
	}
	return set.Environment
}
