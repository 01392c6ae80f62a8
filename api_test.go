package licensed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/importer"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of this package's tests")

// publicPackages follow semantic versioning.
var publicPackages = []string{"client", "license", "license/token", "license/wire", "koogallery"}

// What the public packages export is written down, so that no change of it
// goes unnoticed. `make api` writes the files.
func TestExportedAPI(t *testing.T) {
	var present []string
	for _, pkg := range publicPackages {
		files, err := filepath.Glob(filepath.Join(pkg, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		switch _, err := os.Stat(goldenAPI(pkg)); {
		case len(files) > 0:
			present = append(present, pkg)
		case err == nil:
			t.Errorf("package %s is gone, but %s promises it", pkg, goldenAPI(pkg))
		}
	}
	if len(present) == 0 {
		return
	}
	imp := exportImporter(t, present)
	for _, pkg := range present {
		t.Run(pkg, func(t *testing.T) {
			p, err := imp.Import(module + "/" + pkg)
			if err != nil {
				t.Fatal(err)
			}
			got := exportedAPI(p)
			if *update {
				if err := errors.Join(os.MkdirAll(filepath.Dir(goldenAPI(pkg)), 0o755), os.WriteFile(goldenAPI(pkg), []byte(got), 0o644)); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(goldenAPI(pkg))
			if errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("the API of %s is not written down yet; run make api and commit %s", pkg, goldenAPI(pkg))
			} else if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("the API of %s has changed (-%s +now):\n%s\n"+
					"If that is meant, run make api, commit the file and say in CHANGELOG.md what users must do;\n"+
					"what was removed or changed breaks them (make apidiff BASE=tag tells).", pkg, goldenAPI(pkg), diff)
			}
		})
	}
}

func goldenAPI(pkg string) string {
	return filepath.Join("testdata", "api", strings.ReplaceAll(pkg, "/", "_")+".txt")
}

// exportImporter imports from the compiler's export data, as for linux.
func exportImporter(t *testing.T, pkgs []string) types.Importer {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=ImportPath,Export"}
	for _, pkg := range pkgs {
		args = append(args, "./"+pkg)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	exports := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[p.ImportPath] = p.Export
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
}

// exportedAPI lists what p exports: constants, variables, functions, then each
// type with its fields and methods.
func exportedAPI(p *types.Package) string {
	var consts, vars, funcs, typeNames strings.Builder
	for _, name := range p.Scope().Names() { // sorted
		switch obj := p.Scope().Lookup(name).(type) {
		case *types.Const:
			if obj.Exported() {
				fmt.Fprintf(&consts, "const %s %s = %s\n", name, typeText(p, obj.Type()), obj.Val().ExactString())
			}
		case *types.Var:
			if obj.Exported() {
				fmt.Fprintf(&vars, "var %s %s\n", name, typeText(p, obj.Type()))
			}
		case *types.Func:
			if obj.Exported() {
				fmt.Fprintf(&funcs, "func %s\n", signature(p, obj))
			}
		case *types.TypeName:
			if obj.Exported() {
				typeNames.WriteByte('\n')
				writeType(&typeNames, p, obj)
			}
		}
	}
	text := fmt.Sprintf("package %s // import %q\n", p.Name(), p.Path())
	for _, section := range []string{consts.String(), vars.String(), funcs.String()} {
		if section != "" {
			text += "\n" + section
		}
	}
	return text + typeNames.String()
}

func writeType(b *strings.Builder, p *types.Package, obj *types.TypeName) {
	name := obj.Name()
	if obj.IsAlias() {
		fmt.Fprintf(b, "type %s = %s\n", name, typeText(p, types.Unalias(obj.Type())))
		return
	}
	underlying := obj.Type().Underlying()
	kind := typeText(p, underlying)
	var lines []string
	if s, ok := underlying.(*types.Struct); ok {
		kind = "struct"
		hidden := false
		for i := range s.NumFields() {
			f := s.Field(i)
			if !f.Exported() {
				hidden = true
				continue
			}
			line := f.Name() + " " + typeText(p, f.Type())
			if f.Embedded() {
				line = typeText(p, f.Type()) + " (embedded)"
			}
			if tag := s.Tag(i); tag != "" {
				line += " `" + tag + "`"
			}
			lines = append(lines, line)
		}
		if hidden {
			lines = append(lines, "// and unexported fields")
		}
	}
	if i, ok := underlying.(*types.Interface); ok {
		kind = "interface"
		for m := range i.Methods() {
			if m.Exported() {
				lines = append(lines, signature(p, m))
			} else if !slices.Contains(lines, "// and unexported methods") {
				lines = append(lines, "// and unexported methods")
			}
		}
	}
	fmt.Fprintf(b, "type %s%s %s\n", name, typeParams(p, obj.Type()), kind)
	for _, line := range lines {
		fmt.Fprintf(b, "\t%s\n", line)
	}
	if types.IsInterface(underlying) {
		return
	}
	// The set of the pointer type has the methods of both.
	for sel := range types.NewMethodSet(types.NewPointer(obj.Type())).Methods() {
		m, ok := sel.Obj().(*types.Func)
		if !ok || !m.Exported() {
			continue
		}
		recv := name
		if types.NewMethodSet(obj.Type()).Lookup(m.Pkg(), m.Name()) == nil {
			recv = "*" + name
		}
		fmt.Fprintf(b, "func (%s) %s\n", recv, signature(p, m))
	}
}

func signature(p *types.Package, m *types.Func) string {
	return m.Name() + strings.TrimPrefix(typeText(p, m.Type()), "func")
}

func typeParams(p *types.Package, t types.Type) string {
	named, ok := t.(*types.Named)
	if !ok || named.TypeParams().Len() == 0 {
		return ""
	}
	var params []string
	for tp := range named.TypeParams().TypeParams() {
		params = append(params, tp.Obj().Name()+" "+typeText(p, tp.Constraint()))
	}
	return "[" + strings.Join(params, ", ") + "]"
}

func typeText(p *types.Package, t types.Type) string {
	return types.TypeString(t, types.RelativeTo(p))
}
