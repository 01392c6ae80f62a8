package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func (p *program) sandboxCommand() *cli.Command {
	return &cli.Command{
		Name: "sandbox", Category: "Service", Usage: "run a stand-in for the marketplace, until interrupted",
		UsageText: "licensectl sandbox [OPTIONS]",
		Description: "It sells, renews, freezes, releases, applies for licences and probes like the real one, by all three interfaces,\n" +
			"and calls the daemon back. What the daemon's configuration needs (CA, keys) lies in files of --dir, which are made at the\n" +
			"first start and kept: a merchant is configured once. Everything sold is forgotten at the end. Buttons for all of it are on the page that it names; the same for scripts is a control API.\n\n" +
			"A scenario is a JSON file with settings and steps: buy, renew, wait, expect and so on. With --once the command ends after\n" +
			"the last step, with status 1 if something was not as expected. Flags go before settings of the file. It waits until\n" +
			"--callback answers, so that the daemon may start after it.\n\n" +
			"Faults, for --fault NAME=PROBABILITY:\n  " + faultNames() + "\n\n" +
			"Where the marketplace's pages leave open how it speaks, for --dialect NAME=VALUE (the first is the default):\n" + dialectLines() + "\n" +
			"Examples:\n  licensectl sandbox --listen 127.0.0.1:9443 --callback http://127.0.0.1:8080/marketplace/koogallery\n" +
			"  licensectl sandbox --product P1=One --product P2:online=Two --callback http://127.0.0.1:8080/marketplace/x\n" +
			"  licensectl sandbox --scenario week.json --once --callback http://127.0.0.1:8080/marketplace/koogallery",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:9443", Usage: "`ADDRESS` of the open API, the control API and the page"},
			&cli.StringSliceFlag{Name: "host", Usage: "`NAME` or address under which others reach it (repeatable); the first stands in base_urls"},
			&cli.StringSliceFlag{Name: "product", Usage: "sell `ID[:INTERFACE]=NAME` (repeatable; license2, online or license1; default OFFI0001=Demo)"},
			&cli.StringFlag{Name: "callback", Usage: "the daemon's `URL` to call: …/marketplace/NAME"},
			&cli.StringFlag{Name: "access-key-file", Usage: "`FILE` with the key that signs callbacks; default: access-key of --dir", TakesFile: true},
			&cli.StringFlag{Name: "callback-ca", Usage: "`FILE` with the certificate authority of --callback", TakesFile: true},
			&cli.DurationFlag{Name: "interval", Value: sandbox.DefaultRetryInterval, Usage: "`TIME` between two attempts of a callback"},
			&cli.DurationFlag{Name: "probe-interval", Usage: "`TIME` between two probes; the real marketplace has 12h; 0 for none"},
			&cli.DurationFlag{Name: "day", Value: sandbox.DefaultDay, Usage: "`TIME` that a day lasts in the rules for failed probes and retention"},
			&cli.BoolFlag{Name: "require-receive", Usage: "codes must be received before they can be activated"},
			&cli.BoolFlag{Name: "notify-orders", Usage: "send the optional order notification"},
			&cli.BoolFlag{Name: "no-query-v2", Usage: "leave out the query of several codes, which is not documented"},
			&cli.StringSliceFlag{Name: "fault", Usage: "misbehave: `NAME=PROBABILITY` (repeatable)"},
			&cli.StringSliceFlag{Name: "dialect", Usage: "speak as the pages may mean: `NAME=VALUE` (repeatable)"},
			&cli.Uint64Flag{Name: "seed", Usage: "`NUMBER` that faults are drawn from, to tell a run again; default: another one each time"},
			&cli.StringFlag{Name: "scenario", Usage: "`FILE` with settings and steps to play", TakesFile: true},
			&cli.BoolFlag{Name: "once", Usage: "end after the last step of --scenario"},
			&cli.DurationFlag{Name: "wait", Value: 30 * time.Second, Usage: "`TIME` that --scenario waits for --callback to answer; 0 for none"},
			&cli.StringFlag{Name: "dir", Value: "./licensed-sandbox", Usage: "`FOLDER` of its keys; what is missing is made", TakesFile: true},
			outputFlag(formTable, formJSON),
		},
		Action: p.sandbox,
	}
}

// market is a running sandbox and the files that speak of it.
type market struct {
	URL             string   `json:"url"`
	Page            string   `json:"page"`
	CAFile          string   `json:"ca_file"`
	TokenFile       string   `json:"control_token_file"`
	AccessKeyFile   string   `json:"access_key_file"`
	AccessKeyIDFile string   `json:"access_key_id_file"`
	SecretKeyFile   string   `json:"secret_access_key_file"`
	Callback        string   `json:"callback,omitempty"`
	Products        []string `json:"products"`
	Seed            uint64   `json:"seed"`

	s *sandbox.Sandbox
}

func (p *program) sandbox(c *cli.Context) (err error) {
	_, f, err := commandLine(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	opts, scenario, err := sandboxOptions(c)
	if err != nil {
		return err
	}
	p.err = &oneAtATime{w: p.err} // the sandbox's log and the program both write to it
	opts.Log = slog.New(slog.NewTextHandler(p.err, nil))
	dir, err := readMarketDir(c.String("dir"))
	if err != nil {
		return usagef("--dir: %v", err)
	}
	keys, err := dir.keys()
	if err != nil {
		return err
	}
	if err := callbackFiles(c, &opts, &keys); err != nil {
		return err
	}
	opts = keys.Options(opts)
	s, err := sandbox.New(opts)
	if err != nil {
		return usagef("%v", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m, err := openMarket(c, s, dir)
	if err != nil {
		return err
	}
	if beyondLoopback(c.String("listen")) {
		p.note("warning: %s can be reached from other machines; the sandbox hands out codes to whoever has its control token", m.URL)
	}
	if f == formJSON {
		err = writeJSON(p.out, m)
	} else {
		err = p.printMarket(m)
	}
	if err != nil {
		return err
	}
	if scenario != nil {
		if err := p.awaitMerchant(c, s); err != nil {
			return err
		}
		if err := p.play(c, s, scenario); err != nil || c.Bool("once") {
			return err
		}
	}
	<-c.Done()
	p.note("the sandbox stops; everything that it sold is forgotten")
	return nil
}

// oneAtATime keeps the lines of a log and of the program apart on one screen.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneAtATime) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(b)
}

// openMarket writes what is missing of the sandbox's files and starts it.
func openMarket(c *cli.Context, s *sandbox.Sandbox, dir *marketDir) (market, error) {
	m := market{s: s, Callback: c.String("callback"), Seed: s.Seed()}
	for _, product := range s.Products() {
		m.Products = append(m.Products, product.ID)
	}
	if err := dir.complete(s); err != nil {
		return m, err
	}
	m.CAFile, m.TokenFile, m.AccessKeyFile = dir.path(caFile), dir.path(tokenFile), dir.path(accessKeyFile)
	m.AccessKeyIDFile, m.SecretKeyFile = dir.path(accessKeyIDFile), dir.path(secretKeyFile)
	if path := c.String("access-key-file"); path != "" {
		m.AccessKeyFile = path
	}
	if err := s.Start(c.Context); err != nil {
		return m, fmt.Errorf("start the sandbox: %w", err)
	}
	m.URL, m.Page = s.URL(), s.URL()+"/sandbox/"
	return m, nil
}

// callbackFiles reads what the options name.
func callbackFiles(c *cli.Context, opts *sandbox.Options, keys *sandbox.Keys) error {
	if path := c.String("callback-ca"); path != "" {
		if opts.Callback.URL == "" {
			return usagef("--callback-ca goes with --callback")
		}
		ca, err := readFile(path)
		if err != nil {
			return usagef("--callback-ca: %v", err)
		}
		opts.Callback.RootCAs = x509.NewCertPool()
		if !opts.Callback.RootCAs.AppendCertsFromPEM(ca) {
			return usagef("--callback-ca: %s holds no certificate", path)
		}
	}
	if path := c.String("access-key-file"); path != "" {
		secret, err := config.ReadSecret(path)
		if err != nil {
			return usagef("--access-key-file: %v", err)
		}
		keys.AccessKey = sandbox.NewToken(secret.Reveal())
	}
	return nil
}

func (p *program) printMarket(m market) error {
	callback := m.Callback
	if callback == "" {
		callback = "nobody is called; name the daemon with --callback"
	}
	var f fields
	f.add("marketplace", m.URL)
	f.add("page", m.Page)
	f.add("sells", strings.Join(m.Products, ", "))
	f.add("calls", callback)
	f.add("CA", m.CAFile)
	f.add("access key", m.AccessKeyFile)
	f.add("AK, SK", m.AccessKeyIDFile+", "+m.SecretKeyFile)
	f.add("control token", m.TokenFile)
	f.add("seed", strconv.FormatUint(m.Seed, 10))
	if err := f.write(p.out); err != nil {
		return err
	}
	curl := fmt.Sprintf("curl --cacert %s -H \"Authorization: Bearer $(cat %s)\" %s/sandbox/v1", m.CAFile, m.TokenFile, m.URL)
	absolute := func(path string) string {
		if full, err := filepath.Abs(path); err == nil {
			return full
		}
		return path
	}
	return p.say(`
A merchant's server trusts the CA, checks calls with the access key, and signs its own with AK and SK. In the configuration of licensed:
  marketplaces:
    - name: koogallery
      access_key_files: [%s]
      open_api:
        base_urls: [%s]
        ca_file: %s
        access_key_id_file: %s
        secret_access_key_file: %s

To buy, and to do something with the code that comes back:
  %s/buy -d '{"product": "%s", "period": "365d"}'
  %s/renew -d '{"code": "PL…", "period": "365d"}'
  %s/freeze -d '{"code": "PL…"}'
also: unfreeze, unsubscribe, release, expire, receive, change, cancel-renewal, apply, notify, retry, probe, misbehave,
dialect and more; GET products, codes, deliveries, deliveries/ID, events. The page has buttons for all of it; it asks for the control token.

Stop it with Ctrl-C.`,
		absolute(m.AccessKeyFile), m.URL, absolute(m.CAFile), absolute(m.AccessKeyIDFile), absolute(m.SecretKeyFile),
		curl, m.Products[0], curl, curl)
}

// removeAll takes a temporary folder away.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}
