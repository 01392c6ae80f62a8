package adminclient

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// Backup writes a backup of the daemon's store to w. Whether it is whole, w has
// to be asked: a connection that breaks can look like the end.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	return c.stream(ctx, call{method: http.MethodPost, path: adminwire.PathBackup, accept: adminwire.TypeBackup}, w)
}

// Dump writes every record of the daemon's store to w, as text. Whether it is
// whole, its last line says.
func (c *Client) Dump(ctx context.Context, w io.Writer) error {
	return c.stream(ctx, call{method: http.MethodPost, path: adminwire.PathDump, accept: adminwire.TypeDump}, w)
}

// stream is a call whose answer has no bounds, neither in time nor in size.
func (c *Client) stream(ctx context.Context, k call, w io.Writer) error {
	req, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, c.timeout, err)
	}
	defer resp.Body.Close()
	got, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode != http.StatusOK || got != k.accept {
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return c.unreachable(ctx, c.timeout, err)
		}
		raw := []byte{}
		k.raw = &raw
		return c.decode(k, resp, body)
	}
	out := &sink{w: w}
	if _, err := io.Copy(out, resp.Body); err != nil {
		if out.err != nil {
			return out.err // not the connection
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return license.Errorf(license.Unreachable, "%s broke it off after %d bytes; its log says why", c.server, out.n).WithCause(err)
	}
	return nil
}

// sink tells errors of a writer from those of the connection.
type sink struct {
	w   io.Writer
	n   int64
	err error
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.n += int64(n)
	if err != nil {
		s.err = fmt.Errorf("keep what the daemon sends: %w", err)
	}
	return n, err
}
