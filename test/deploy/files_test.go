package deploy_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/seed-357fa782/licensed/internal/config"
)

const folder = "../../deploy/"

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(folder + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// program finds a program, or skips the test where it may.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") != "true" {
		t.Skipf("%v; install it", err)
	} else if err != nil {
		t.Fatal(err)
	}
	return path
}

// compose is what is looked at of a compose file. Strict decoding refuses a key
// that is not here, so that none is written wrongly.
type compose struct {
	Name     string             `yaml:"name"`
	Daemon   any                `yaml:"x-daemon"`
	DB       any                `yaml:"x-db"`
	Services map[string]service `yaml:"services"`
	Volumes  map[string]any     `yaml:"volumes"`
	Networks map[string]struct {
		Internal bool `yaml:"internal"`
		IPAM     struct {
			Config []struct {
				Subnet string `yaml:"subnet"`
			} `yaml:"config"`
		} `yaml:"ipam"`
	} `yaml:"networks"`
	Configs map[string]struct {
		File    string `yaml:"file"`
		Content string `yaml:"content"`
	} `yaml:"configs"`
	Secrets map[string]struct {
		File string `yaml:"file"`
	} `yaml:"secrets"`
}

type service struct {
	Image       string   `yaml:"image"`
	Build       any      `yaml:"build"`
	Restart     string   `yaml:"restart"`
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Sysctls     any      `yaml:"sysctls"`
	User        string   `yaml:"user"`
	Tmpfs       []string `yaml:"tmpfs"`
	StopSignal  string   `yaml:"stop_signal"`
	StopGrace   string   `yaml:"stop_grace_period"`
	ShmSize     string   `yaml:"shm_size"`
	Entrypoint  []string `yaml:"entrypoint"`
	Command     []string `yaml:"command"`
	Ports       []string `yaml:"ports"`
	Volumes     []string `yaml:"volumes"`
	Secrets     []string `yaml:"secrets"`
	Configs     []struct {
		Source string `yaml:"source"`
		Target string `yaml:"target"`
		Mode   int    `yaml:"mode"`
	} `yaml:"configs"`
	Environment map[string]string `yaml:"environment"`
	DependsOn   map[string]any    `yaml:"depends_on"`
	Networks    any               `yaml:"networks"` // a list, or addresses by network
	Healthcheck struct {
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		StartPeriod string   `yaml:"start_period"`
	} `yaml:"healthcheck"`
}

// address is that of a service in a network with fixed ones.
func (s service) address(network string) string {
	networks, _ := s.Networks.(map[string]any)
	of, _ := networks[network].(map[string]any)
	address, _ := of["ipv4_address"].(string)
	return address
}

func readCompose(t *testing.T) compose {
	t.Helper()
	var c compose
	if err := yaml.UnmarshalWithOptions([]byte(read(t, "compose/compose.yaml")), &c, yaml.DisallowUnknownField()); err != nil {
		t.Fatal(err)
	}
	return c
}

// What compose.yaml names is defined, and what it defines is used and there.
func TestComposeNames(t *testing.T) {
	c := readCompose(t)
	used := map[string]map[string]bool{"volume": {}, "network": {}, "config": {}, "secret": {}}
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			if from, _, _ := strings.Cut(v, ":"); !strings.HasPrefix(from, ".") {
				used["volume"][from] = true
			}
		}
		for _, f := range s.Configs {
			used["config"][f.Source] = true
		}
		for _, secret := range s.Secrets {
			used["secret"][secret] = true
		}
		switch networks := s.Networks.(type) {
		case []any:
			for _, n := range networks {
				used["network"][n.(string)] = true
			}
		case map[string]any:
			for n := range networks {
				used["network"][n] = true
			}
		}
		for other := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s waits for %s, which is no service", name, other)
			}
		}
	}
	same(t, "volume", used["volume"], c.Volumes)
	same(t, "network", used["network"], c.Networks)
	same(t, "config", used["config"], c.Configs)
	same(t, "secret", used["secret"], c.Secrets)
	for name, f := range c.Configs {
		if f.File == "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(folder, "compose", f.File)); err != nil {
			t.Errorf("config %s: %v", name, err)
		}
	}
	for name, f := range c.Secrets {
		if f.File != "secrets/"+name {
			t.Errorf("the secret %s is in %s", name, f.File)
		}
	}
}

func same[V any](t *testing.T, kind string, used map[string]bool, defined map[string]V) {
	t.Helper()
	for name := range used {
		if _, ok := defined[name]; !ok {
			t.Errorf("the %s %s is used and not defined", kind, name)
		}
	}
	for name := range defined {
		if !used[name] {
			t.Errorf("the %s %s is defined and not used", kind, name)
		}
	}
}

// The containers can do what they need and no more, and only the balancer can be
// reached from outside.
func TestComposeIsClosed(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		if !s.ReadOnly || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: a read-only root file system and no new privileges are missing", name)
		}
		if (len(s.Ports) > 0) != (name == "balancer") {
			t.Errorf("%s publishes the ports %v", name, s.Ports)
		}
		if s.User == "" && name != "balancer" || strings.HasPrefix(s.User, "0") || s.User == "root" {
			t.Errorf("%s runs as %q", name, s.User)
		}
	}
	for _, network := range []string{"edge", "data"} {
		if !c.Networks[network].Internal {
			t.Errorf("the network %s leads outside", network)
		}
	}
}

// What the configuration of the daemons says fits the services.
func TestComposeConfiguration(t *testing.T) {
	c := readCompose(t)
	conf := load(t, "compose/licensed.yaml", "/run/secrets/")
	store, err := url.Parse(conf.Store)
	if err != nil {
		t.Fatal(err)
	}
	for host := range strings.SplitSeq(store.Host, ",") {
		if _, ok := c.Services[host]; !ok {
			t.Errorf("the store names the host %s, which is no service", host)
		}
	}
	balancer := c.Services["balancer"]
	if at := balancer.address("edge"); !slices.Contains(conf.Public.TrustedProxies, netip.MustParsePrefix(at+"/32")) {
		t.Errorf("the daemons do not trust the balancer at %s", at)
	}
	_, public, _ := strings.Cut(conf.Public.Listen, ":")
	_, ops, _ := strings.Cut(conf.Ops.Listen, ":")
	if !strings.Contains(read(t, "haproxy/haproxy.cfg"), `LICENSED_OPS_PORT "`+ops+`"`) {
		t.Errorf("the balancer does not ask at port %s", ops)
	}
	for name, variable := range map[string]string{"licensed-a": "LICENSED_A", "licensed-b": "LICENSED_B"} {
		s := c.Services[name]
		if at := s.address("edge") + ":" + public; balancer.Environment[variable] != at {
			t.Errorf("%s listens on %s, and the balancer calls %s", name, at, balancer.Environment[variable])
		}
		secrets(t, name, read(t, "compose/licensed.yaml"), `/run/secrets/([a-z-]+)`, s.Secrets)
		if !slices.ContainsFunc(s.Volumes, func(v string) bool { return strings.HasSuffix(v, ":"+conf.DataDir) }) {
			t.Errorf("%s has no volume at data_dir, %s", name, conf.DataDir)
		}
	}
	if db := c.Services["db-a"].Environment["POSTGRES_DB"]; db != "" {
		t.Errorf("the image makes the database %s, and waits for a standby that is not there yet", db)
	}
	file := read(t, "compose/Dockerfile")
	for _, want := range []string{"USER " + c.Services["licensed-a"].User, "unix:" + conf.Admin.Socket, conf.DataDir[:strings.LastIndex(conf.DataDir, "/")]} {
		if !strings.Contains(file, want) {
			t.Errorf("the Dockerfile has no %q", want)
		}
	}
}

// secrets checks that the files with secrets that a text names are handed over, and no others.
func secrets(t *testing.T, name, text, pattern string, handed []string) {
	t.Helper()
	named := map[string]bool{}
	for _, match := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		named[match[1]] = true
	}
	got := map[string]struct{}{}
	for _, secret := range handed {
		got[secret] = struct{}{}
	}
	same(t, name+": secret", named, got)
}

// load reads a configuration as the daemon does.
func load(t *testing.T, name, secrets string) config.Config {
	t.Helper()
	c, err := config.Load(folder+name, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/var/lib/licensed" || !c.InDatabase() || !strings.HasPrefix(c.Database.PasswordFile, secrets) {
		t.Errorf("%s: data_dir %s, store %s, password %s", name, c.DataDir, c.Store, c.Database.PasswordFile)
	}
	return c
}

// Under systemd both machines have one configuration, whose secrets are credentials of the unit.
func TestSystemdConfiguration(t *testing.T) {
	load(t, "systemd/licensed.yaml", "/run/credentials/licensed.service/")
	unit := read(t, "systemd/licensed.service")
	var handed []string
	for _, match := range regexp.MustCompile(`(?m)^LoadCredential=([a-z-]+):/etc/licensed/secrets/([a-z-]+)$`).FindAllStringSubmatch(unit, -1) {
		if match[1] != match[2] {
			t.Errorf("the credential %s is in the file %s", match[1], match[2])
		}
		handed = append(handed, match[1])
	}
	secrets(t, "the unit", read(t, "systemd/licensed.yaml"), `/run/credentials/licensed.service/([a-z-]+)`, handed)
}

// systemd understands the unit, and finds little that it leaves open.
func TestSystemdUnit(t *testing.T) {
	analyze := program(t, "systemd-analyze")
	dir := t.TempDir()
	stub := filepath.Join(dir, "licensed")
	unit := filepath.Join(dir, "licensed.service")
	text := strings.Replace(read(t, "systemd/licensed.service"), "ExecStart=/usr/bin/licensed ", "ExecStart="+stub+" ", 1)
	if err := errors.Join(os.WriteFile(stub, []byte("#!/bin/sh\n"), 0o700), os.WriteFile(unit, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", unit).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// The exposure that it may have at most, in tenths.
	if out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// The scripts are ones that a shell can read.
func TestScripts(t *testing.T) {
	sh := program(t, "sh")
	for _, name := range []string{"compose/secrets.sh", "postgresql/roles.sh", "postgresql/standby.sh"} {
		if out, err := exec.CommandContext(t.Context(), sh, "-n", folder+name).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// secrets.sh makes what compose.yaml hands over, names what it cannot make, and
// leaves alone what is there. The certificates are the servers' own.
func TestSecrets(t *testing.T) {
	program(t, "openssl")
	script, err := filepath.Abs(folder + "compose/secrets.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func() string {
		cmd := exec.CommandContext(t.Context(), "sh", script)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	said := run()
	var made []string
	content := map[string]string{}
	for name := range readCompose(t).Secrets {
		path := filepath.Join(dir, "secrets", name)
		info, err := os.Stat(path)
		if strings.Contains(said, "still missing: secrets/"+name+"\n") == (err == nil) {
			t.Errorf("%s: %v; it said\n%s", name, err, said)
		}
		if err != nil {
			continue
		}
		if perm := info.Mode().Perm(); perm != 0o600 && name != "db-ca" {
			t.Errorf("%s has mode %o", name, perm)
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			t.Errorf("%s is empty, %v", name, err)
		}
		made, content[name] = append(made, name), string(data)
	}
	if len(made) != 10 {
		t.Errorf("it made %v", made)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(content["db-ca"])) {
		t.Fatal("db-ca is no certificate")
	}
	for _, host := range []string{"db-a", "db-b"} {
		pair, err := tls.X509KeyPair([]byte(content[host+"-cert"]), []byte(content[host+"-key"]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Error(err)
		}
	}
	run()
	for _, name := range made {
		if data, err := os.ReadFile(filepath.Join(dir, "secrets", name)); err != nil || string(data) != content[name] {
			t.Errorf("%s is another one the second time, %v", name, err)
		}
	}
}
