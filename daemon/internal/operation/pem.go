package operation

import (
	"errors"
	"fmt"
	"io"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// LicenseFile is the media type of files: it reads request files and writes
// answers as licence files.
var LicenseFile = huma.Format{
	Marshal: func(w io.Writer, v any) error {
		ans, ok := v.(wire.Answer)
		if !ok {
			return fmt.Errorf("a %T has no form as a licence file", v)
		}
		if ans.Keys == "" { // of a dry run
			return nil
		}
		f := token.File{KeySets: []string{ans.Keys}, Times: []string{ans.Time}}
		if ans.License != "" {
			f.Licenses = []string{ans.License}
		}
		if ans.Status != "" {
			f.Statuses = []string{ans.Status}
		}
		_, err := w.Write(f.Marshal())
		return err
	},
	Unmarshal: func(data []byte, v any) error {
		rq, ok := v.(*wire.Request)
		if !ok {
			return errors.New("a request file is not taken here")
		}
		raw, err := token.ParseRequestFile(data)
		rq.Request = raw
		if e, ok := errors.AsType[*license.Error](err); ok {
			return errors.New(e.Detail) // the problem has a reason and a field of its own
		}
		return err
	},
}
