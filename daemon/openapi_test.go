package daemon_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

var (
	updateOpenAPI = flag.Bool("openapi.update", false, "write the OpenAPI documents anew, where they break nobody")
	breakOpenAPI  = flag.Bool("openapi.break", false, "with openapi.update: also where they break somebody")
)

// The OpenAPI documents are golden: what stands there programs rely on. An addition
// needs -openapi.update; what would break a program needs -openapi.break besides,
// and a line in CHANGELOG.md that says what its author must do.
func TestOpenAPIGolden(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	_, public := m.do(http.MethodGet, "/openapi.json", "", "")
	_, admin := m.staff(http.MethodGet, adminwire.PathOpenAPI, "")
	for name, text := range map[string]string{"public": public, "admin": admin} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, filepath.Join("..", "testdata", "openapi."+name+".json"), decode[document](t, text))
		})
	}
}

func golden(t *testing.T, path string, is document) {
	t.Helper()
	is["info"].(map[string]any)["version"] = "" // that of the build
	data, err := os.ReadFile(path)
	var was document
	switch {
	case errors.Is(err, fs.ErrNotExist):
		was = document{}
	case err != nil:
		t.Fatal(err)
	default:
		was = decode[document](t, string(data))
	}
	broken := breaks(was, is)
	if len(broken) > 0 && !*breakOpenAPI {
		t.Fatalf("this would break programs that use the API:\n%s", strings.Join(broken, "\n"))
	}
	d := cmp.Diff(map[string]any(was), map[string]any(is))
	if d == "" {
		return
	}
	if !*updateOpenAPI {
		t.Fatalf("the API has grown (-golden +now); run go test ./daemon -run TestOpenAPIGolden -openapi.update and commit the file:\n%.4000s", d)
	}
	out, err := json.MarshalIndent(is, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(out, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// document is an OpenAPI document, or a part of one.
type document map[string]any

// part is the member under the keys, empty where there is none.
func (d document) part(keys ...string) document {
	for _, k := range keys {
		next, _ := d[k].(map[string]any)
		d = next
	}
	return d
}

func (d document) strings(key string) (out []string) {
	list, _ := d[key].([]any)
	for _, v := range list {
		out = append(out, fmt.Sprint(v))
	}
	return out
}

// breaks says what a program that was written against was would miss in is.
func breaks(was, is document) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for path, item := range was.part("paths") {
		for method := range item.(map[string]any) {
			old, now := was.part("paths", path, method), is.part("paths", path, method)
			at := strings.ToUpper(method) + " " + path
			if len(now) == 0 {
				say("%s is gone", at)
				continue
			}
			if old["operationId"] != now["operationId"] {
				say("%s: its operationId was %v and is %v", at, old["operationId"], now["operationId"])
			}
			parameters(at, old, now, say)
			for status := range old.part("responses") {
				if now.part("responses")[status] == nil && status < "400" {
					say("%s: it has no answer %s any more", at, status)
				}
				for media, form := range old.part("responses", status, "content") {
					if now.part("responses", status, "content")[media] == nil {
						say("%s: its answer %s is no %s any more", at, status, media)
						continue
					}
					schema("answer of "+at, document(form.(map[string]any)).part("schema"), now.part("responses", status, "content", media, "schema"), say)
				}
			}
			if required, _ := now.part("requestBody")["required"].(bool); required && len(old.part("requestBody")) == 0 {
				say("%s: it needs a body now", at)
			}
		}
	}
	asked := inputs(was)
	for name := range was.part("components", "schemas") {
		now := is.part("components", "schemas", name)
		if len(now) == 0 {
			say("the schema %s is gone", name)
			continue
		}
		old := was.part("components", "schemas", name)
		schema(name, old, now, say)
		for _, member := range now.strings("required") {
			if asked[name] && !slices.Contains(old.strings("required"), member) {
				say("%s: %s must be given now", name, member)
			}
		}
		for _, member := range old.strings("required") {
			if !asked[name] && !slices.Contains(now.strings("required"), member) {
				say("%s: %s can be absent now", name, member)
			}
		}
	}
	slices.Sort(out)
	return out
}

// inputs are the schemas that a program fills in.
func inputs(d document) map[string]bool {
	out := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				name := ref[strings.LastIndexByte(ref, '/')+1:]
				if !out[name] {
					out[name] = true
					walk(map[string]any(d.part("components", "schemas", name)))
				}
			}
			for x := range maps.Values(v) {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	for path, item := range d.part("paths") {
		for method := range item.(map[string]any) {
			walk(map[string]any(d.part("paths", path, method, "requestBody")))
		}
	}
	return out
}

func parameters(at string, was, is document, say func(string, ...any)) {
	list := func(d document) map[string]document {
		out := map[string]document{}
		params, _ := d["parameters"].([]any)
		for _, p := range params {
			p := document(p.(map[string]any))
			out[fmt.Sprint(p["in"], " ", p["name"])] = p
		}
		return out
	}
	old, now := list(was), list(is)
	for name, p := range old {
		if now[name] == nil {
			say("%s: the parameter %s is gone", at, name)
		} else if fmt.Sprint(p.part("schema")["type"]) != fmt.Sprint(now[name].part("schema")["type"]) {
			say("%s: the parameter %s has another type", at, name)
		}
	}
	for name, p := range now {
		before, _ := old[name]["required"].(bool)
		if required, _ := p["required"].(bool); required && !before {
			say("%s: the parameter %s must be given now", at, name)
		}
	}
}

// schema compares types and members.
func schema(at string, was, is document, say func(string, ...any)) {
	if fmt.Sprint(was["$ref"], was["type"]) != fmt.Sprint(is["$ref"], is["type"]) {
		say("%s: it was %v%v and is %v%v", at, was["$ref"], was["type"], is["$ref"], is["type"])
		return
	}
	for name := range was.part("properties") {
		if is.part("properties")[name] == nil {
			say("%s: the member %s is gone", at, name)
			continue
		}
		schema(at+"."+name, was.part("properties", name), is.part("properties", name), say)
	}
	if len(was.part("items")) > 0 {
		schema(at+"[]", was.part("items"), is.part("items"), say)
	}
}

// What breaks a program is found, and what only adds is not taken for it.
func TestBreaks(t *testing.T) {
	t.Parallel()
	const base = `{"paths":{"/a":{"post":{"operationId":"make","parameters":[{"name":"q","in":"query","schema":{"type":"string"}}],
		"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/In"}}}},
		"responses":{"200":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Out"}}}}}}}},
		"components":{"schemas":{"In":{"type":"object","required":["x"],"properties":{"x":{"type":"string"},"y":{"type":"string"}}},
		"Out":{"type":"object","required":["id"],"properties":{"id":{"type":"string"},"list":{"type":"array","items":{"type":"string"}}}}}}}`
	for name, c := range map[string]struct{ from, to, want string }{
		"the same":               {"", "", ""},
		"a path is renamed":      {`"/a"`, `"/b"`, "POST /a is gone"},
		"an operation is":        {`"make"`, `"issue"`, "POST /a: its operationId was make and is issue"},
		"a parameter is needed":  {`"in":"query",`, `"in":"query","required":true,`, "POST /a: the parameter query q must be given now"},
		"a parameter is gone":    {`"name":"q"`, `"name":"r"`, "POST /a: the parameter query q is gone"},
		"a member is renamed":    {`"id":{`, `"key":{`, "Out: the member id is gone"},
		"a member changes":       {`"items":{"type":"string"}`, `"items":{"type":"integer"}`, "Out.list[]: it was <nil>string and is <nil>integer"},
		"a member can be absent": {`"required":["id"]`, `"required":[]`, "Out: id can be absent now"},
		"a member is needed":     {`"required":["x"]`, `"required":["x","y"]`, "In: y must be given now"},
		"one is needed no more":  {`"required":["x"]`, `"required":[]`, ""},
		"a member is added":      {`"properties":{"id"`, `"properties":{"new":{"type":"string"},"id"`, ""},
		"a media type is gone":   {`"200":{"content":{"application/json"`, `"200":{"content":{"text/plain"`, "POST /a: its answer 200 is no application/json any more"},
		"a path is added":        {`{"/a":`, `{"/b":{"get":{"operationId":"b","responses":{}}},"/a":`, ""},
	} {
		text := base
		if c.from != "" {
			text = strings.Replace(base, c.from, c.to, 1)
			if text == base {
				t.Fatalf("%s: nothing was replaced", name)
			}
		}
		if got := strings.Join(breaks(decode[document](t, base), decode[document](t, text)), "\n"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
