package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func (p *program) sandboxCommand() *cli.Command {
	return &cli.Command{
		Name: "sandbox", Category: "Service", Usage: "run a stand-in for the marketplace, until interrupted",
		UsageText: "licensectl sandbox [OPTIONS]",
		Description: "It sells, renews, freezes, releases, applies for licences and probes like the real one, by all three interfaces,\n" +
			"and calls the daemon back. What the daemon's configuration needs (CA, keys) lies in files of --dir. Everything sold is\n" +
			"forgotten at the end. Buttons for all of it are on the page that it names; the same for scripts is a control API.\n\n" +
			"A scenario is a JSON file with settings and steps: buy, renew, wait, expect and so on. With --once the command ends after\n" +
			"the last step, with status 1 if something was not as expected. Flags go before settings of the file.\n\n" +
			"Faults, for --fault NAME=PROBABILITY:\n  " + faultNames() + "\n\n" +
			"Examples:\n  licensectl sandbox --listen 127.0.0.1:9443 --callback http://127.0.0.1:8080/marketplace/koogallery\n" +
			"  licensectl sandbox --product P1=One --product P2:online=Two --callback http://127.0.0.1:8080/marketplace/x\n" +
			"  licensectl sandbox --scenario week.json --once --callback http://127.0.0.1:8080/marketplace/koogallery",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", Value: "127.0.0.1:9443", Usage: "`ADDRESS` of the open API, the control API and the page"},
			&cli.StringSliceFlag{Name: "product", Usage: "sell `ID[:INTERFACE]=NAME` (repeatable; license2, online or license1; default OFFI0001=Demo)"},
			&cli.StringFlag{Name: "callback", Usage: "the daemon's `URL` to call: …/marketplace/NAME"},
			&cli.StringFlag{Name: "access-key-file", Usage: "`FILE` with the key that signs callbacks; default: a new one in --dir", TakesFile: true},
			&cli.StringFlag{Name: "callback-ca", Usage: "`FILE` with the certificate authority of --callback", TakesFile: true},
			&cli.DurationFlag{Name: "interval", Value: sandbox.DefaultRetryInterval, Usage: "`TIME` between two attempts of a callback"},
			&cli.DurationFlag{Name: "probe-interval", Usage: "`TIME` between two probes; the real marketplace has 12h; 0 for none"},
			&cli.BoolFlag{Name: "require-receive", Usage: "codes must be received before they can be activated"},
			&cli.BoolFlag{Name: "notify-orders", Usage: "send the optional order notification"},
			&cli.BoolFlag{Name: "no-query-v2", Usage: "leave out the query of several codes, which is not documented"},
			&cli.StringSliceFlag{Name: "fault", Usage: "misbehave: `NAME=PROBABILITY` (repeatable)"},
			&cli.Uint64Flag{Name: "seed", Usage: "`NUMBER` that faults are drawn from, to tell a run again; default: another one each time"},
			&cli.StringFlag{Name: "scenario", Usage: "`FILE` with settings and steps to play", TakesFile: true},
			&cli.BoolFlag{Name: "once", Usage: "end after the last step of --scenario"},
			&cli.StringFlag{Name: "dir", Value: "./licensed-sandbox", Usage: "`FOLDER` for the files that it writes", TakesFile: true},
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
	if _, err := arguments(c); err != nil {
		return err
	}
	f, err := form(c, formTable, formJSON)
	if err != nil {
		return err
	}
	opts, scenario, err := sandboxOptions(c)
	if err != nil {
		return err
	}
	p.err = &oneAtATime{w: p.err} // the sandbox's log and the program both write to it
	opts.Log = slog.New(slog.NewTextHandler(p.err, nil))
	s, err := sandbox.New(opts)
	if err != nil {
		return usagef("%v", err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m, err := openMarket(c, s)
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

// openMarket starts the sandbox and writes its files.
func openMarket(c *cli.Context, s *sandbox.Sandbox) (market, error) {
	m := market{s: s, Callback: c.String("callback"), Seed: s.Seed()}
	for _, product := range s.Products() {
		m.Products = append(m.Products, product.ID)
	}
	key, ca, err := callbackFiles(c)
	if err != nil {
		return m, err
	}
	if err := s.Start(c.Context); err != nil {
		return m, fmt.Errorf("start the sandbox: %w", err)
	}
	m.URL, m.Page = s.URL(), s.URL()+"/sandbox/"
	if err := m.writeFiles(c.String("dir")); err != nil {
		return m, err
	}
	if key == "" && ca == nil {
		return m, nil
	}
	if key != "" {
		m.AccessKeyFile = c.String("access-key-file")
	}
	err = m.control(c.Context, "/sandbox/v1/callback", map[string]string{"url": m.Callback, "access_key": key, "ca_pem": string(ca)})
	return m, err
}

// callbackFiles reads what the options name.
func callbackFiles(c *cli.Context) (key string, ca []byte, err error) {
	if path := c.String("callback-ca"); path != "" {
		if c.String("callback") == "" {
			return "", nil, usagef("--callback-ca goes with --callback")
		}
		if ca, err = readFile(path); err != nil {
			return "", nil, usagef("--callback-ca: %v", err)
		}
	}
	if path := c.String("access-key-file"); path != "" {
		secret, err := config.ReadSecret(path)
		if err != nil {
			return "", nil, usagef("--access-key-file: %v", err)
		}
		key = secret.Reveal()
	}
	return key, ca, nil
}

// writeFiles puts down what a daemon's configuration and curl need.
func (m *market) writeFiles(dir string) error {
	if err := durable.MkdirAll(dir); err != nil {
		return err
	}
	for _, f := range []struct {
		path *string
		name string
		text string
		perm fs.FileMode
	}{
		{&m.CAFile, "ca.pem", string(m.s.CAPEM()), 0o644},
		{&m.TokenFile, "control-token", m.s.ControlToken().Reveal() + "\n", 0o600},
		{&m.AccessKeyFile, "access-key", m.s.AccessKey().Reveal() + "\n", 0o600},
		{&m.AccessKeyIDFile, "ak", m.s.AccessKeyID() + "\n", 0o600},
		{&m.SecretKeyFile, "sk", m.s.SecretAccessKey().Reveal() + "\n", 0o600},
	} {
		*f.path = filepath.Join(dir, f.name)
		if err := durable.WriteFile(*f.path, []byte(f.text), f.perm); err != nil {
			return err
		}
	}
	return nil
}

// control calls the sandbox's own control API, through its front door.
func (m *market) control(ctx context.Context, path string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("set the callback: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.URL+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("set the callback: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+m.s.ControlToken().Reveal())
	req.Header.Set("Content-Type", "application/json")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(m.s.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return fmt.Errorf("set the callback: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // says why, where it can be read
		return usagef("--callback, --access-key-file or --callback-ca: %s", printable(string(answer)))
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
In the daemon's configuration:
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
also: unfreeze, unsubscribe, release, expire, receive, cancel-renewal, apply, retry, probe, misbehave and more;
GET products, codes, deliveries, events. The page has buttons for all of it; it asks for the control token.

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
