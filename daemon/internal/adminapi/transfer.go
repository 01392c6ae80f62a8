package adminapi

import (
	"context"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// moveOff frees the seat of one machine for another.
func (s *server) moveOff(ctx context.Context, in *struct {
	IDInput
	Body adminwire.MoveOff
},
) (*body[adminwire.MovedOff], error) {
	done, err := s.a.MoveOff(ctx, actor(ctx), in.ID, authority.MoveOff{
		Install: in.Body.Install, Reason: in.Body.Reason, Force: in.Body.Force,
	})
	if err != nil {
		return nil, err
	}
	out := adminwire.MovedOff{Changed: len(done.Ended) > 0, Forced: done.Forced, Ended: make([]string, 0, len(done.Ended))}
	for _, i := range done.Ended {
		out.Ended = append(out.Ended, i.ID)
	}
	out.License, err = s.one(ctx, done.License.ID)
	return &body[adminwire.MovedOff]{out}, err
}
