package licensed_test

import "testing"

func TestWholeFile(t *testing.T) {
	tests := []struct{ name, code, want string }{
		{"file", "package main\n\nfunc main() {}\n", "package main\n\nfunc main() {}\n"},
		{"declarations", "import \"os\"\n\nvar _ = os.Args\n", "package example\n\nimport \"os\"\n\nvar _ = os.Args\n"},
		{"statements", "x := 1\n_ = x\n", "package example\n\n\nfunc _() error {\nx := 1\n_ = x\n\nreturn nil\n}\n"},
		{
			"imports and statements", "import \"os\"\n\n_ = os.Args\n",
			"package example\n\nimport \"os\"\n\n\nfunc _() error {\n_ = os.Args\n\nreturn nil\n}\n",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := wholeFile(test.code); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			compileExample(t, test.name, test.code)
		})
	}
}

func TestHeadingAnchor(t *testing.T) {
	for text, want := range map[string]string{
		"Two commands":             "two-commands",
		"`licensectl`: what's new": "licensectl-whats-new",
		"[Keep](https://x) a log":  "keep-a-log",
		"许可证 与 机器":                 "许可证-与-机器",
	} {
		if got := headingAnchor(text); got != want {
			t.Errorf("anchor of %q is %q, want %q", text, got, want)
		}
	}
}
