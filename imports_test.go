package licensed_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-357fa782/licensed/internal/deptest"
)

const module = "github.com/seed-357fa782/licensed"

// systems are the ones that the product is built for.
var systems = []string{"linux", "darwin", "windows", "freebsd"}

// importRule says what the non-test files of a package may import besides the
// standard library. Packages of this module stand without the module's path;
// "windows:" before an entry allows it there only.
type importRule struct {
	pkg   string // "/..." takes in the packages below
	allow []string
	bad   []string // of the standard library
	why   string
}

// importRules is searched for the first rule that names a package.
var importRules = []importRule{
	{pkg: ".", why: "the root holds tests only"},
	{
		pkg: "license", bad: []string{"context", "database/sql", "net/http", "os"},
		why: "the domain is pure: no clock, no input or output, no context",
	},
	{pkg: "license/wire", allow: []string{"license"}, why: "the protocol adds forms to the domain and nothing else"},
	{pkg: "license/token", allow: []string{"license", "github.com/golang-jwt/jwt/v5"}, why: "customers link it"},
	{
		pkg: "client/qr", allow: []string{"license", "license/token", "github.com/boombuler/barcode/..."},
		why: "customers who draw QR codes link one module more, and nobody else does",
	},
	{
		pkg:   "client/...",
		allow: []string{"license/...", "client/...", "github.com/golang-jwt/jwt/v5", "github.com/denisbrodbeck/machineid", "windows:golang.org/x/sys/windows/..."},
		why:   "customers link it: nothing of the server, and two modules only",
	},
	{
		pkg:   "keys",
		allow: []string{"license", "license/token", "internal/durable", "github.com/golang-jwt/jwt/v5", "filippo.io/age/...", "golang.org/x/crypto/..."},
		why:   "custody of keys needs tokens, sealing and files",
	},
	{
		pkg: "keys/pkcs11", allow: []string{"license", "license/token", "github.com/miekg/pkcs11"},
		why: "a token makes keys and signs, and nothing else; only builds with the tag pkcs11 link the library",
	},
	{pkg: "koogallery/...", allow: []string{"koogallery/..."}, why: "the marketplace's protocol knows nothing of our licences"},
	{pkg: "store", allow: []string{"license"}, why: "the contract names no driver"},
	{pkg: "store/boltstore", allow: []string{"store", "license", "go.etcd.io/bbolt/..."}, why: "backends share nothing but store and license"},
	{pkg: "store/pgstore", allow: []string{"store", "license", "github.com/jackc/pgx/v5/..."}, why: "backends share nothing but store and license"},
	{
		pkg: "store/storetest", allow: []string{"store", "license", "github.com/google/go-cmp/...", "pgregory.net/rapid", "go.uber.org/goleak"},
		why: "one suite for every backend, so it knows none",
	},
	{pkg: "store/faultstore", allow: []string{"store", "license"}, why: "it wraps any backend, so it knows none"},
	{
		pkg: "store/backup", allow: []string{"store", "license", "store/boltstore", "internal/durable"},
		why: "a copy of a store is a file of its backend",
	},
	{pkg: "store/dump", allow: []string{"store", "license"}, why: "it moves records between backends, so it knows none"},
	{pkg: "store/open", allow: []string{"store", "license", "store/boltstore", "store/pgstore"}, why: "it chooses a backend and does nothing else"},

	{
		pkg: "daemon/internal/authority", allow: []string{"license/...", "store"}, bad: []string{"net/http"},
		why: "use cases know no driver and no transport; the signer is an interface declared there",
	},
	{
		pkg: "daemon/internal/custody", allow: []string{"daemon/internal/authority", "keys"},
		why: "it shows a key folder to the use cases, which know none",
	},
	{
		pkg: "daemon/internal/marks", allow: []string{"daemon/internal/authority", "store", "internal/durable"},
		why: "it keeps files beside the store, and reaches no store",
	},
	{
		pkg: "daemon/internal/operation", allow: []string{"license/...", "github.com/danielgtaylor/huma/v2/..."},
		why: "it makes HTTP operations of functions, and knows none of them",
	},
	{
		pkg: "daemon/internal/refusals", allow: []string{"daemon/internal/authority", "license/..."},
		why: "it counts for the public API and the buyer's page, and knows neither",
	},
	{
		pkg: "daemon/internal/httpapi", allow: []string{"daemon/internal/authority", "daemon/internal/operation", "daemon/internal/refusals", "license/...", "github.com/danielgtaylor/huma/v2/..."},
		why: "adapters translate for authority, and never know each other",
	},
	{
		pkg: "daemon/internal/adminapi", allow: []string{"daemon/internal/authority", "daemon/internal/operation", "license/...", "internal/adminwire", "github.com/danielgtaylor/huma/v2/..."},
		why: "adapters translate for authority, and never know each other",
	},
	{
		pkg: "daemon/internal/market", allow: []string{"daemon/internal/authority", "license/...", "koogallery"},
		why: "adapters translate for authority, and never know each other",
	},
	{
		pkg: "daemon/internal/webhook", allow: []string{"daemon/internal/authority", "license/...", "internal/adminwire"},
		why: "adapters translate for authority, and never know each other; endpoints are shown in the forms of the admin API",
	},
	{
		pkg: "daemon/internal/console",
		allow: []string{
			"daemon/internal/authority", "daemon/internal/operation", "daemon/internal/console/page", "license/...", "internal/adminwire", "internal/adminclient",
		},
		why: "adapters translate for authority, and never know each other; the admin API is a handler to it, which it calls as anybody does",
	},
	{
		pkg: "daemon/internal/console/buyer",
		allow: []string{
			"daemon/internal/authority", "daemon/internal/operation", "daemon/internal/refusals", "daemon/internal/console/page", "license/...", "internal/qrphoto",
		},
		why: "adapters translate for authority, and never know each other; a buyer may hand in a photo, which is read here as at the staff's desk",
	},
	{pkg: "daemon/internal/console/page", allow: []string{"golang.org/x/text/language"}, why: "it renders, and knows nothing of what is shown"},
	{pkg: "daemon/internal/sweep", allow: []string{"daemon/internal/authority", "license/..."}, why: "adapters translate for authority, and never know each other"},
	{pkg: "daemon/internal/metrics", allow: []string{"github.com/prometheus/..."}, why: "it reads the plain numbers of others, so that they link no metrics library"},
	{
		pkg:   "daemon",
		allow: []string{"daemon/internal/...", "license/...", "keys", "keys/pkcs11", "store", "store/open", "store/backup", "store/dump", "internal/..."},
		why:   "the runtime wires; drivers and protocols are wired by the packages that own them",
	},
	{pkg: "cmd/licensed", allow: []string{"daemon", "internal/config", "internal/buildinfo", "github.com/urfave/cli/v2"}, why: "main is thin"},
	{
		pkg: "licensectl",
		allow: []string{
			"license/...", "client", "client/fingerprint", "client/qr", "keys", "koogallery/sandbox", "internal/...", "store", "store/open", "store/backup", "store/dump", "daemon",
			"github.com/urfave/cli/v2", "golang.org/x/term",
		},
		why: "the command line reaches a running daemon through its admin API",
	},

	{pkg: "internal/durable", why: "one library each, and it needs none"},
	{pkg: "internal/buildinfo", why: "one library each, and it needs none"},
	{pkg: "internal/pipenet", why: "one library each, and it needs none"},
	{pkg: "internal/deptest", why: "one library each, and it needs none"},
	{pkg: "internal/certtest", why: "one library each, and it needs none"},
	{pkg: "internal/config", allow: []string{"license/...", "github.com/goccy/go-yaml/..."}, why: "one library each, below the daemon"},
	{pkg: "internal/adminwire", allow: []string{"license/..."}, why: "forms only"},
	{pkg: "internal/adminclient", allow: []string{"license/...", "internal/adminwire"}, why: "one library each, below the daemon"},
	{
		pkg: "internal/qrphoto", allow: []string{"license", "github.com/makiuchi-d/gozxing/..."},
		why: "one library each; its reader is for the merchant's programs, not for customers",
	},
	{pkg: "internal/proofpage", allow: []string{"license/..."}, why: "it shows a signed form, and asks nobody"},
	{
		pkg: "internal/teststore", allow: []string{"store", "store/boltstore", "store/pgstore", "internal/pgtest", "github.com/jackc/pgx/v5/..."},
		why: "it chooses a backend for tests",
	},
	{pkg: "internal/pgtest", allow: []string{"github.com/jackc/pgx/v5/..."}, why: "one library each, below the stores"},

	{
		pkg: "bench/...",
		allow: []string{
			"bench/...", "license/...", "client/...", "keys", "koogallery/...", "store/...", "daemon", "internal/...",
			"go.etcd.io/bbolt/...", "github.com/golang-jwt/jwt/v5", "github.com/jackc/pgx/v5/...",
		},
		why: "it measures everything beside a bare prototype",
	},
	{pkg: "examples/...", allow: []string{"license", "client", "client/qr"}, why: "they are copied into products, which import nothing else"},
	{pkg: "test/...", allow: []string{"license/...", "client/...", "koogallery/...", "internal/..."}, why: "it drives the built programs"},
}

// testOnly are packages that only tests import.
var testOnly = []string{
	"client/clienttest", "store/storetest", "store/faultstore",
	"internal/certtest", "internal/deptest", "internal/pgtest", "internal/pipenet", "internal/teststore", "test/...",
}

// measures is a program for developers, which starts a PostgreSQL as tests do. Nobody
// else runs it, and nothing imports it.
var measures = []string{"bench"}

// importers lists, for packages that few may import, who may.
var importers = map[string][]string{
	"store/open":      {"daemon", "licensectl"},
	"store/dump":      {"daemon", "licensectl", "bench/..."},
	"store/backup":    {"daemon", "licensectl", "bench/..."},
	"store/boltstore": {"store/open", "store/backup", "internal/teststore", "bench/..."},
	"store/pgstore":   {"store/open", "internal/teststore", "bench/..."},
	"daemon":          {"cmd/licensed", "licensectl", "bench/..."},

	"client/qr":        {"licensectl", "examples/...", "test/..."}, // and products that want it
	"internal/qrphoto": {"licensectl", "daemon/internal/console/buyer"},
}

// importFiles lists, for imports that only some files of a package may have,
// the pattern of their names.
var importFiles = []struct{ pkg, imported, files string }{
	{"licensectl", "store", "db*.go"},
	{"licensectl", "store/open", "db*.go"},
	{"licensectl", "store/backup", "db*.go"},
	{"licensectl", "store/dump", "db*.go"},
	{"licensectl", "daemon", "demo*.go"},
}

// badEverywhere may not be reached, however indirectly, by anything but tests.
var badEverywhere = map[string]string{
	"testing":                                    "it adds flags to every program that links it",
	"testing/synctest":                           "it is for tests",
	"net/http/httptest":                          "it adds flags to every program that links it",
	"github.com/google/go-cmp/cmp":               "it panics by design and is for tests",
	"pgregory.net/rapid":                         "it is for tests",
	"go.uber.org/goleak":                         "it is for tests",
	"github.com/rogpeppe/go-internal/testscript": "it is for tests",
}

// clientAllowed is all that a customer who imports client links besides the
// standard library, and qrAllowed what one links who imports client/qr.
var clientAllowed = []string{
	module + "/license/...",
	module + "/client/...",
	"github.com/golang-jwt/jwt/v5",
	"github.com/denisbrodbeck/machineid",
}

// clientWithout are packages of the standard library that a customer who imports
// client links on few systems: each is set up at every start, used or not.
var clientWithout = map[string][]string{"encoding/xml": {"darwin", "freebsd"}}

var qrAllowed = []string{module + "/license/...", module + "/client/qr", "github.com/golang-jwt/jwt/v5", "github.com/boombuler/barcode/..."}

var graphs = sync.OnceValues(func() ([]*deptest.Graph, error) {
	loaded := make([]*deptest.Graph, len(systems))
	errs := make([]error, len(systems))
	var wg sync.WaitGroup
	for i, goos := range systems {
		wg.Go(func() { loaded[i], errs[i] = deptest.Load(context.Background(), ".", goos, "./...") }) // several tests share it
	}
	wg.Wait()
	return loaded, errors.Join(errs...)
})

func loadGraphs(t *testing.T) []*deptest.Graph {
	t.Helper()
	loaded, err := graphs()
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

// short is the path of a package of this module without the module's.
func short(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func ours(path string) bool { return deptest.Match(module+"/...", path) }

func matchAny(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return deptest.Match(p, path) })
}

func TestImportRules(t *testing.T) {
	for _, g := range loadGraphs(t) {
		for _, p := range g.Named() {
			name := short(p.ImportPath)
			i := slices.IndexFunc(importRules, func(r importRule) bool { return deptest.Match(r.pkg, name) })
			if i < 0 {
				t.Errorf("%s: no import rule names this package; write one in imports_test.go", name)
				continue
			}
			rule := importRules[i]
			allow := slices.Clone(rule.allow)
			for _, pattern := range rule.allow {
				if rest, ok := strings.CutPrefix(pattern, g.GOOS+":"); ok {
					allow = append(allow, rest)
				}
			}
			for _, imported := range p.Imports {
				switch {
				case matchAny(rule.bad, imported):
				case g.Standard(imported) || matchAny(allow, short(imported)):
					continue
				}
				t.Errorf("%s (%s) may not import %s: %s", name, g.GOOS, short(imported), rule.why)
			}
		}
	}
}

func TestImporters(t *testing.T) {
	for _, g := range loadGraphs(t) {
		for _, p := range g.Named() {
			name := short(p.ImportPath)
			for _, imported := range p.Imports {
				if !ours(imported) {
					continue
				}
				imported = short(imported)
				if matchAny(testOnly, imported) && !matchAny(testOnly, name) && !matchAny(measures, name) {
					t.Errorf("%s (%s) may not import %s: that is for tests", name, g.GOOS, imported)
				}
				if who := importers[imported]; who != nil && !matchAny(who, name) {
					t.Errorf("%s (%s) may not import %s: that is for %s", name, g.GOOS, imported, strings.Join(who, ", "))
				}
			}
		}
	}
}

func TestImportFiles(t *testing.T) {
	for _, rule := range importFiles {
		files, err := filepath.Glob(filepath.Join(rule.pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if ok, err := filepath.Match(rule.files, filepath.Base(file)); err != nil {
				t.Fatal(err)
			} else if ok || strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				if strings.Trim(spec.Path.Value, `"`) == module+"/"+rule.imported {
					t.Errorf("%s may not import %s: only %s may", file, rule.imported, rule.files)
				}
			}
		}
	}
}

func TestNothingReachesTestLibraries(t *testing.T) {
	for _, g := range loadGraphs(t) {
		for _, p := range g.Named() {
			if matchAny(testOnly, short(p.ImportPath)) || matchAny(measures, short(p.ImportPath)) {
				continue
			}
			for _, complaint := range g.CheckBad(p.ImportPath, badEverywhere) {
				t.Error(complaint)
			}
		}
	}
}

// What a customer links with package client is a promise, so the list is of
// what is allowed, and it is checked on the whole closure.
func TestClientClosure(t *testing.T) {
	for _, g := range loadGraphs(t) {
		allowed := slices.Clone(clientAllowed)
		if g.GOOS == "windows" {
			allowed = append(allowed, "golang.org/x/sys/windows/...")
		}
		for _, p := range g.Named() {
			if !deptest.Match("client/...", short(p.ImportPath)) {
				continue
			}
			if short(p.ImportPath) == "client/qr" {
				for _, complaint := range g.CheckAllowed(p.ImportPath, qrAllowed) {
					t.Error(complaint)
				}
				continue
			}
			for _, complaint := range g.CheckAllowed(p.ImportPath, allowed) {
				t.Error(complaint)
			}
		}
	}
}

func TestClientLinksNoMoreThanItsSystemNeeds(t *testing.T) {
	for _, g := range loadGraphs(t) {
		reached := g.Reach(module + "/client")
		for imported, on := range clientWithout {
			if chain := reached[imported]; (chain != nil) != slices.Contains(on, g.GOOS) {
				t.Errorf("client (%s) and %s, which is for %v: %v", g.GOOS, imported, on, chain)
			}
		}
	}
}

// The packages that `make race` leaves out start nothing, and share nothing with what
// others start: the race detector has nothing to find in their tests.
func TestPackagesWithoutRaces(t *testing.T) {
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(makefile), "\nALONE := ")
	list, _, _ = strings.Cut(list, "\n")
	if !found || list == "" {
		t.Fatal("the Makefile has no list of them")
	}
	for dir := range strings.FieldsSeq(list) {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Errorf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				if path := strings.Trim(spec.Path.Value, `"`); path == "sync" || path == "sync/atomic" || path == "testing/synctest" {
					t.Errorf("%s imports %s", file, path)
				}
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s starts a goroutine", file)
				case *ast.SelectorExpr:
					if n.Sel.Name == "Parallel" || n.Sel.Name == "AfterFunc" {
						t.Errorf("%s: %s runs what it is given at the same time as something else", file, n.Sel.Name)
					}
				}
				return true
			})
		}
	}
}

// Each package has its comment in exactly one file that is not a test, on
// whichever system that file is built.
func TestPackageComments(t *testing.T) {
	commented := map[string][]string{} // by folder
	for _, file := range goFiles(t) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Error(err)
			continue
		}
		dir := filepath.Dir(file)
		if f.Doc != nil && strings.TrimSpace(f.Doc.Text()) != "" {
			commented[dir] = append(commented[dir], filepath.Base(file))
		} else if commented[dir] == nil {
			commented[dir] = []string{}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(commented)) {
		switch files := commented[dir]; len(files) {
		case 0:
			t.Errorf("%s: no file has a package comment", dir)
		case 1:
		default:
			t.Errorf("%s: the package comment stands in %s; one is enough", dir, strings.Join(files, ", "))
		}
	}
}

// goFiles returns the Go files of the module, as paths relative to its root.
func goFiles(t *testing.T) []string {
	t.Helper()
	return filesNamed(t, ".go")
}

// filesNamed returns the files of the repository whose names have the ending.
func filesNamed(t *testing.T, ending string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			hidden := strings.HasPrefix(d.Name(), ".") && path != "."
			if hidden || slices.Contains([]string{"bin", "testdata", "vendor", "licensed-data", "licensed-client"}, d.Name()) {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(path, ending) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) { // another test may tidy up meanwhile
		t.Fatal(err)
	}
	return files
}
