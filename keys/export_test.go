package keys

// Hook is asked to do each step that changes a file.
type Hook = func(action, path string, do func() error) error

// InitWith is Init with a hook.
func InitWith(h Hook, dir string, o Options) (Created, error) {
	return initWith(disk{hook: h}, dir, o)
}

// OpenWith is Open with a hook.
func OpenWith(h Hook, dir string, o Options) (*Ring, error) { return openWith(disk{hook: h}, dir, o) }

// Parsers of what lies in files, for fuzzing.
var (
	ParseState = func(b []byte) ([]byte, error) {
		s, err := parseState("state.json", b)
		if err != nil {
			return nil, err
		}
		return s.marshal()
	}
	ParsePrivatePEM = func(b []byte) error { _, err := parsePrivatePEM("key.pem", b); return err }
	ParseIdentity   = func(b []byte) error { _, err := parseIdentity("identity", b); return err }
)
