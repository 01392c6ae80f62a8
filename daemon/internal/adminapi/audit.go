package adminapi

import (
	"bufio"
	"context"
	"io"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// registerAudit adds the audit log.
func (s *server) registerAudit(api huma.API) {
	operation.Register(api, get("events", adminwire.PathEvents, "The audit log, oldest first, or newest first"), s.events)
	operation.Register(api, get("event-lines", adminwire.PathEventLines, "The audit log as it is kept: lines of a chain"), s.eventLines)
	operation.RegisterStream(api, get("export-events", adminwire.PathExport, "All of the audit log as it is kept, or what is selected of it"), adminwire.TypeLines, s.exportEvents)
	operation.Register(api, get("event-head", adminwire.PathEventHead, "How far the audit log goes, and is signed"), s.eventHead)
	operation.Register(api, post("checkpoint", adminwire.PathCheckpoint, "Sign the audit log"), s.checkpoint)
	operation.Register(api, post("erase-events", adminwire.PathErase, "Take a licence's personal data out of the audit log"), s.eraseEvents)
}

// EventSelection selects audit events.
type EventSelection struct {
	License string         `query:"license" maxLength:"128"`
	Action  license.Action `query:"action" maxLength:"64"`
	Since   time.Time      `query:"since" doc:"Only what happened at or after this instant."`
}

// EventInput asks for a part of them.
type EventInput struct {
	EventSelection
	PageInput
}

func (in *EventInput) read() (authority.EventFilter, authority.Page) {
	return authority.EventFilter{License: in.License, Action: in.Action, Since: in.Since}, in.page()
}

// OrderedInput is an EventInput with an order. It is exported as IDInput is.
type OrderedInput struct {
	EventInput
	Order string `query:"order" enum:"oldest,newest" doc:"newest: the newest first; else the oldest. A cursor is one of the order in which it was made."`
}

func (s *server) events(ctx context.Context, in *OrderedInput) (*body[adminwire.EventList], error) {
	f, p := in.read()
	f.Newest = in.Order == adminwire.OrderNewest
	events, next, err := s.a.Events(ctx, f, p)
	if err != nil {
		return nil, err
	}
	out := adminwire.EventList{Events: make([]adminwire.Event, 0, len(events)), Next: next}
	for _, e := range events {
		out.Events = append(out.Events, adminwire.NewEvent(e))
	}
	return &body[adminwire.EventList]{out}, nil
}

func (s *server) eventLines(ctx context.Context, in *EventInput) (*body[adminwire.EventLines], error) {
	f, p := in.read()
	lines, next, err := s.a.EventLines(ctx, f, p)
	if err != nil {
		return nil, err
	}
	out := adminwire.EventLines{Lines: make([]string, 0, len(lines)), Next: next}
	for _, line := range lines {
		out.Lines = append(out.Lines, string(line))
	}
	return &body[adminwire.EventLines]{out}, nil
}

// exportEvents writes the lines page by page: what is added meanwhile is in it.
func (s *server) exportEvents(ctx context.Context, in *EventSelection, w io.Writer) error {
	f, p := (&EventInput{EventSelection: *in, PageInput: PageInput{Limit: maxLines}}).read()
	out := bufio.NewWriterSize(w, 256<<10)
	for {
		lines, next, err := s.a.EventLines(ctx, f, p)
		if err != nil {
			return err
		}
		for _, line := range lines {
			_, _ = out.Write(line) // Flush tells
			_ = out.WriteByte('\n')
		}
		if p.Cursor = next; next == "" {
			return out.Flush()
		}
	}
}

// maxLines is how many lines of an export are read at once.
const maxLines = 1000

func (s *server) eventHead(ctx context.Context, _ *empty) (*body[adminwire.AuditState], error) {
	head, err := s.a.AuditHead(ctx)
	if err != nil {
		return nil, err
	}
	c, err := s.a.NewestCheckpoint(ctx)
	return &body[adminwire.AuditState]{adminwire.AuditState{Head: adminwire.NewAuditHead(head), Checkpoint: checkpoint(c)}}, err
}

func (s *server) checkpoint(ctx context.Context, _ *empty) (*body[adminwire.CheckpointMade], error) {
	c, changed, err := s.a.MakeCheckpoint(ctx, actor(ctx))
	if changed && authority.DryRun(ctx) {
		c.Token = "" // what is signed does not leave
	}
	return &body[adminwire.CheckpointMade]{adminwire.CheckpointMade{Checkpoint: checkpoint(c), Changed: changed}}, err
}

// checkpoint gives one its shown form, nil where there is none.
func checkpoint(c authority.Checkpoint) *adminwire.Checkpoint {
	if c.Seq == 0 {
		return nil
	}
	return &adminwire.Checkpoint{Seq: c.Seq, At: c.At, Head: adminwire.NewAuditHead(c.Head), Token: c.Token}
}

func (s *server) eraseEvents(ctx context.Context, in *body[adminwire.Erase]) (*body[adminwire.Erased], error) {
	e, err := s.a.EraseEvents(ctx, actor(ctx), in.Body.License, authority.Erasure{Reason: in.Body.Reason, Customer: in.Body.Customer})
	return &body[adminwire.Erased]{adminwire.Erased(e)}, err
}
