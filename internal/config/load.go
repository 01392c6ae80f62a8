package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

const envPrefix = "LICENSED_"

// reservedEnv are variables with our prefix that configure something else;
// one that ends in "_" stands for all that begin so.
var reservedEnv = []string{
	envPrefix + "CONFIG",     // names the file
	envPrefix + "MACHINE_ID", // read by the client and the command line
	envPrefix + "TEST_",      // for the tests
}

// Load reads the configuration file at path over the defaults, then variables
// of env (as [os.Environ] gives them; LICENSED_PUBLIC_LISTEN is
// public.listen), then flags (by key, as "public.listen"). Without path,
// LICENSED_CONFIG names the file; without both there is none.
//
// Relative paths, wherever given, are resolved against the folder of the
// file, without file against the working folder. The error joins one [*Error]
// for everything that is wrong.
func Load(path string, env []string, flags map[string]string) (Config, error) {
	if path == "" {
		path = lookup(env, envPrefix+"CONFIG")
	}
	c := defaults()
	dir := "."
	if path != "" {
		data, err := readLimited(path, maxFile)
		if err != nil {
			return Config{}, fmt.Errorf("read configuration: %w", err)
		}
		if err := c.decodeFile(path, data); err != nil {
			return Config{}, err
		}
		dir = filepath.Dir(path)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return Config{}, fmt.Errorf("find the working folder: %w", err)
	}
	if err := errors.Join(c.applyEnv(env), c.applyFlags(flags)); err != nil {
		return Config{}, err
	}
	c.complete(dir)
	if err := c.validate(); err != nil {
		return Config{}, err
	}
	return c, nil
}

func lookup(env []string, name string) string {
	value := ""
	for _, pair := range env {
		if v, ok := strings.CutPrefix(pair, name+"="); ok {
			value = v // as for the system, the last counts
		}
	}
	return value
}

// settable are the fields that a single text can set, by key, and the lists,
// which have nil.
func (c *Config) settable() map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	var walk func(key string, v reflect.Value)
	walk = func(key string, v reflect.Value) {
		for i := range v.NumField() {
			name := tagName(v.Type().Field(i))
			if name == "" {
				continue
			}
			key, f := child(key, name), v.Field(i)
			switch {
			case f.Kind() == reflect.Slice:
				fields[key] = reflect.Value{}
			case f.Kind() == reflect.Struct && !isScalar(f.Type()):
				walk(key, f)
			default:
				fields[key] = f
			}
		}
	}
	walk("", reflect.ValueOf(c).Elem())
	return fields
}

func envName(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

func (c *Config) applyEnv(env []string) error {
	keys := map[string]string{}
	fields := c.settable()
	for key := range fields {
		keys[envName(key)] = key
	}
	var errs []error
	for _, pair := range env {
		name, value, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || isReserved(name) {
			continue
		}
		key, known := keys[name]
		if !known {
			key, known = listOf(name, fields)
		}
		switch f := fields[key]; {
		case !known:
			errs = append(errs, &Error{Where: name, Err: errors.New("no such variable; its name is " + envPrefix + " and the key, with _ for the dots")})
		case !f.IsValid():
			errs = append(errs, &Error{Where: name, Key: key, Err: errors.New("a list can only be set in the file")})
		default:
			c.src.set(key, name, 0)
			if err := setText(f, value); err != nil {
				errs = append(errs, c.src.err(key, err))
			}
		}
	}
	return errors.Join(errs...)
}

// listOf finds the list that a variable such as LICENSED_PRODUCTS_0_ID means.
func listOf(name string, fields map[string]reflect.Value) (string, bool) {
	for key, f := range fields {
		if !f.IsValid() && strings.HasPrefix(name, envName(key)+"_") {
			return key, true
		}
	}
	return "", false
}

func isReserved(name string) bool {
	return slices.ContainsFunc(reservedEnv, func(r string) bool {
		return name == r || strings.HasSuffix(r, "_") && strings.HasPrefix(name, r)
	})
}

func (c *Config) applyFlags(flags map[string]string) error {
	fields := c.settable()
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(flags)) {
		f, known := fields[key]
		c.src.set(key, "command line", 0)
		switch {
		case !known:
			errs = append(errs, c.src.err(key, errors.New("unknown key")))
		case !f.IsValid():
			errs = append(errs, c.src.err(key, errors.New("a list can only be set in the file")))
		default:
			if err := setText(f, flags[key]); err != nil {
				errs = append(errs, c.src.err(key, err))
			}
		}
	}
	return errors.Join(errs...)
}

// complete resolves paths against dir and fills in what depends on other fields.
func (c *Config) complete(dir string) {
	resolve := func(path string) string {
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	if c.DataDir == "" {
		c.DataDir = defaults().DataDir
	}
	for _, p := range c.paths() {
		*p.value = resolve(*p.value)
	}
	if c.Admin.Socket == "" {
		c.Admin.Socket = filepath.Join(c.DataDir, "admin.sock")
	}
	if c.Store == "" {
		c.Store = boltScheme + filepath.Join(c.DataDir, "licensed.db")
	} else if path, ok := strings.CutPrefix(c.Store, boltScheme); ok {
		c.Store = boltScheme + resolve(path)
	}
	for i := range c.Webhooks {
		c.Webhooks[i].setName()
	}
	c.IssuerGiven = c.Issuer != ""
	if c.Issuer == "" && isLoopback(c.Public.Listen) {
		scheme := "http://"
		if c.Public.TLS.Enabled() {
			scheme = "https://"
		}
		host, port, _ := net.SplitHostPort(c.Public.Listen) // isLoopback has seen that it can be split
		if port == "0" {
			c.Issuer = scheme + strings.TrimSuffix(net.JoinHostPort(host, ""), ":")
		} else {
			c.Issuer = scheme + net.JoinHostPort(host, port)
		}
	}
	for i := range c.Products {
		if c.Products[i].Name == "" {
			c.Products[i].Name = c.Products[i].ID
		}
	}
}

// pathField is a path in a configuration.
type pathField struct {
	key    string
	value  *string
	secret bool
}

// paths lists the paths of c, in the order of the fields.
func (c *Config) paths() []pathField {
	var found []pathField
	var walk func(key, tag string, v reflect.Value)
	walk = func(key, tag string, v reflect.Value) {
		switch v.Kind() {
		case reflect.Struct:
			if isScalar(v.Type()) {
				return
			}
			for i := range v.NumField() {
				if f := v.Type().Field(i); tagName(f) != "" {
					walk(child(key, tagName(f)), f.Tag.Get("config"), v.Field(i))
				}
			}
		case reflect.Slice:
			for i := range v.Len() {
				walk(element(key, i), tag, v.Index(i))
			}
		case reflect.String:
			if p, ok := reflect.TypeAssert[*string](v.Addr()); ok && tag != "" {
				found = append(found, pathField{key, p, tag == "secret"})
			}
		default:
		}
	}
	walk("", "", reflect.ValueOf(c).Elem())
	return found
}

// CheckFiles reads the files that c names and that must be there before the
// daemon starts: secrets, certificates and roots. Each error is an [*Error].
func (c Config) CheckFiles() error {
	var errs []error
	for _, p := range c.paths() {
		if *p.value == "" || p.key == "data_dir" || p.key == "admin.socket" || p.key == "backup.dir" {
			continue
		}
		var err error
		if p.secret {
			_, err = ReadSecret(*p.value)
		} else {
			_, err = readLimited(*p.value, maxFile)
		}
		if err != nil {
			errs = append(errs, c.src.err(p.key, err))
		}
	}
	return errors.Join(errs...)
}

// readLimited reads a regular file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s is larger than %d KiB", path, limit>>10)
	}
	return os.ReadFile(path)
}
