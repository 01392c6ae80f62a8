package daemon_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// gateway is the open API of a marketplace that sells one order of instances,
// by the tables of the access guide (…649350, …649351).
type gateway struct {
	t       *testing.T
	uploads chan upload

	mu   sync.Mutex
	down bool
}

type upload struct {
	event, form, name string
	file              []byte
}

func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	down := g.down
	g.mu.Unlock()
	path := strings.TrimPrefix(r.URL.Path, "/api/mkp-openapi-public/global")
	event, isUpload := strings.CutPrefix(path, "/v1/market-event/")
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), "SDK-HMAC-SHA256 Access=ak-id"):
		w.WriteHeader(http.StatusUnauthorized)
	case down:
		w.WriteHeader(http.StatusBadGateway)
		_, _ = io.WriteString(w, "<html>bad gateway</html>")
	case path == "/v1/order/query" && r.URL.Query().Get("orderId") == "CS1":
		_, _ = io.WriteString(w, `{"resultCode":"MKT.0000","resultMsg":"success","orderInfo":{"orderId":"CS1","orderType":"NEW","createTime":"20260101000000",
			"buyerInfo":{"customerName":"ACME"},"orderLine":[{"orderLineId":"CS1-000001","chargingMode":"PERIOD","expireTime":"20990101000000",
			"productInfo":[{"productId":"OFFI1","linearValue":2}]}]}}`)
	case isUpload:
		g.upload(w, r, strings.TrimSuffix(event, "/file"))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (g *gateway) upload(w http.ResponseWriter, r *http.Request, event string) {
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		g.t.Error(err)
		return
	}
	var about struct {
		Type   string
		Name   string `json:"file_name"`
		SHA256 string
	}
	if err := json.Unmarshal([]byte(r.MultipartForm.Value["isvUpdateFileReq"][0]), &about); err != nil {
		g.t.Error(err)
	}
	file, _, err := r.FormFile("file")
	if err != nil {
		g.t.Error(err)
		return
	}
	data, _ := io.ReadAll(file)
	if sum := sha256.Sum256(data); about.SHA256 != hex.EncodeToString(sum[:]) {
		g.t.Errorf("the digest of the upload is %q", about.SHA256)
	}
	g.uploads <- upload{event, about.Type, about.Name, data}
	_, _ = io.WriteString(w, `{"error_code":"CBC.0000","error_msg":"Success"}`)
}

func (g *gateway) set(down bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.down = down
}

// provisioning is a merchant who sells instances.
type provisioning struct {
	*merchant
	gate *gateway
	key  koogallery.AccessKey
	n    int
}

func startProvisioning(t *testing.T, binding ...string) *provisioning {
	t.Helper()
	g := &gateway{t: t, uploads: make(chan upload, 16)}
	server := httptest.NewTLSServer(g)
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	conf := strings.Replace(fmt.Sprintf(marketConfig, server.URL), "machines: 2", strings.Join(append([]string{"machines: amount"}, binding...), ", binding: "), 1)
	m := start(t, conf, map[string]string{"access-key": "the key", "old-key": "the key before", "ca.pem": string(ca), "ak": "ak-id", "sk": "sk"})
	return &provisioning{merchant: m, gate: g, key: koogallery.NewAccessKey("the key")}
}

// call sends a callback, and returns its answer.
func (p *provisioning) call(body string) map[string]string {
	p.t.Helper()
	p.n++
	q := koogallery.SignedQuery(p.key, fmt.Sprintf("nonce%d", p.n), time.Now(), []byte(body))
	rs, text := p.do(http.MethodPost, "/marketplace/koogallery?"+q.Encode(), "application/json", body)
	var answer map[string]string
	if err := json.Unmarshal([]byte(text), &answer); err != nil || rs.StatusCode != http.StatusOK {
		p.t.Fatalf("HTTP %d: %s", rs.StatusCode, text)
	}
	return answer
}

func (p *provisioning) want(body, code string) map[string]string {
	p.t.Helper()
	answer := p.call(body)
	if answer["resultCode"] != code {
		p.t.Errorf("%s\nis answered with %v, want %s", body, answer, code)
	}
	return answer
}

// licence waits until the marketplace has read the order of an instance.
func (p *provisioning) licence(instance string) adminwire.License {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	for tick := time.Tick(5 * time.Millisecond); ; <-tick {
		var all adminwire.LicenseList
		if err := p.admin(http.MethodGet, adminwire.PathLicenses, nil, &all); err != nil {
			p.t.Fatal(err)
		}
		for _, l := range all.Licenses {
			if l.Instance == instance {
				return l
			}
		}
		if ctx.Err() != nil {
			p.t.Fatal("the instance has no licence")
		}
	}
}

const (
	newInstance = `{"activity":"newInstance","businessId":"%s","orderId":"CS1","orderLineId":"CS1-000001"}`
	getLicense  = `{"activity":"getLicenseAsync","eventId":"%s","instanceId":"%s","effectiveTime":"2026-01-02 00:00:00 z",` +
		`"expireTime":"%s","deviceFingerprint":"%s"}`
	devicePC = "04:7C:16:5E:E3:5D|001B_444A_488B_5CEC.||BFEBFBFF00090672"
)

// An instance from the purchase to the licence in the device, over the wire.
func TestProvisioning(t *testing.T) {
	t.Parallel()
	p := startProvisioning(t)
	first := p.want(fmt.Sprintf(newInstance, "business-1"), "000000")
	again := p.want(fmt.Sprintf(newInstance, "business-2"), "000000")
	id := first["instanceId"]
	if id != "business-1" || again["instanceId"] != id {
		t.Errorf("answered with %v and %v", first, again)
	}
	l := p.licence(id)
	if l.Product != "cad" || l.Machines != 2 || l.Customer != "ACME" || l.Order != "CS1" {
		t.Errorf("sold as %+v", l)
	}
	p.want(fmt.Sprintf(getLicense, "event-1", id, "2098-01-01 00:00:00z", devicePC), "000004")
	up := <-p.gate.uploads
	if up.event != "event-1" || up.form != "FILE" || up.name != "license.lic" {
		t.Errorf("uploaded as %+v", up)
	}
	file, err := token.ParseFile(up.file)
	if err != nil || len(file.Licenses) != 1 || len(file.KeySets) != 1 {
		t.Fatalf("%v: %s", err, up.file)
	}
	var raw json.RawMessage
	if err := p.admin(http.MethodGet, adminwire.PathAnchors, nil, &raw); err != nil {
		t.Fatal(err)
	}
	anchors, err := token.ParseAnchors(raw)
	if err != nil {
		t.Fatal(err)
	}
	set, err := token.VerifyKeySet(file.KeySets[0], anchors)
	if err != nil {
		t.Fatal(err)
	}
	lic, err := token.VerifyLicense(file.Licenses[0], set, token.Expect{Product: "cad"})
	if err != nil {
		t.Fatal(err)
	}
	device, _ := license.ParseDevice(devicePC)
	if !license.Match(lic.Binding, device.Fingerprint(lic.Binding.Salt)).OK || lic.InstallKey != nil {
		t.Errorf("bound to %+v", lic.Binding)
	}
	if bytes.Contains(up.file, []byte("04:7C")) {
		t.Error("the licence names the device")
	}
	for body, code := range map[string]string{
		fmt.Sprintf(getLicense, "event-2", "nobody", "2098-01-01 00:00:00 z", devicePC):                                                              "000003",
		fmt.Sprintf(getLicense, "event-2", id, "2099-06-01 00:00:00 z", devicePC):                                                                    "000901",
		fmt.Sprintf(getLicense, "event-2", id, "", devicePC):                                                                                         "000902",
		fmt.Sprintf(getLicense, "event-2", id, "20980101000000", ""):                                                                                 "000903",
		fmt.Sprintf(getLicense, "event-2", id, "2098-13-01 00:00:00 z", devicePC):                                                                    "000002",
		`{"activity":"refreshInstance","scene":"RENEWAL","orderId":"CS2","orderLineId":"CS2-1","instanceId":"nobody","expireTime":"20990101000000"}`: "000003",
	} {
		p.want(body, code)
	}
	p.want(fmt.Sprintf(getLicense, "event-2", id, "2098-01-01 00:00:00Z", "HW-2"), "000004")
	<-p.gate.uploads
	p.want(fmt.Sprintf(getLicense, "event-3", id, "2098-01-01 00:00:00Z", "HW-3"), "000900")
	p.want(`{"activity":"refreshInstance","scene":"RENEWAL","orderId":"CS2","orderLineId":"CS2-1","instanceId":"`+id+`","expireTime":"20990601000000"}`, "000000")
	p.want(`{"activity":"updateInstanceStatus","instanceId":"`+id+`","status":"FREEZE"}`, "000000")
	p.want(fmt.Sprintf(getLicense, "event-4", id, "2098-01-01 00:00:00Z", devicePC), "000901")
	p.want(`{"activity":"updateInstanceStatus","instanceId":"`+id+`","status":"UNFREEZE"}`, "000000")
	if l := p.licence(id); l.State != license.StateActive || l.ExpiresAt.Format("20060102") != "20990601" {
		t.Errorf("after its renewal: %+v", l)
	}
	p.want(`{"activity":"releaseInstance","instanceId":"`+id+`","orderId":"CS3"}`, "000000")
	if l := p.licence(id); l.State != license.StateReleased {
		t.Errorf("after its release: %s", l.State)
	}
}

// Probes touch nothing, whatever they name.
func TestProvisioningProbes(t *testing.T) {
	t.Parallel()
	p := startProvisioning(t)
	probe := strings.Replace(fmt.Sprintf(newInstance, "business-9"), "{", `{"testFlag":"1",`, 1)
	if answer := p.want(probe, "000000"); answer["instanceId"] != "business-9" {
		t.Errorf("answered with %v", answer)
	}
	p.want(strings.Replace(fmt.Sprintf(getLicense, "e", "nobody", "2098-01-01 00:00:00 z", devicePC), "{", `{"testFlag":"1",`, 1), "000000")
	var all adminwire.LicenseList
	if err := p.admin(http.MethodGet, adminwire.PathLicenses, nil, &all); err != nil || len(all.Licenses) != 0 {
		t.Errorf("%v, %+v", err, all)
	}
}

// While the open API is down callbacks are answered all the same.
func TestProvisioningWhileDown(t *testing.T) {
	t.Parallel()
	p := startProvisioning(t)
	p.gate.set(true)
	id := p.want(fmt.Sprintf(newInstance, "business-1"), "000000")["instanceId"]
	p.want(fmt.Sprintf(getLicense, "event-1", id, "2098-01-01 00:00:00 z", devicePC), "000004")
	p.down() // the daemon stops while its calls fail
}

// The tables count characters, of whatever script.
func TestProvisioningLongestIDs(t *testing.T) {
	t.Parallel()
	p := startProvisioning(t)
	long := strings.Repeat("码", 64)
	p.want(`{"activity":"newInstance","orderId":"`+long+`","orderLineId":"1","businessId":"b1"}`, "000000")
	p.want(`{"activity":"releaseLicenseCode","license":"`+long+`"}`, "000000")
	p.want(`{"activity":"releaseInstance","instanceId":"`+long+`"}`, "000003")
	p.want(`{"activity":"releaseInstance","instanceId":"`+long+`x"}`, "000002")
}

// A device of which nothing could be read is none (…649268): refused where one is
// required, and no matter where a product binds to none.
func TestProvisioningWithoutADevice(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{"fuzzy": "000903", "none": "000004"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			p := startProvisioning(t, policy)
			id := p.want(fmt.Sprintf(newInstance, "business-1"), "000000")["instanceId"]
			p.licence(id)
			for _, device := range []string{"", ",||| "} {
				p.want(fmt.Sprintf(getLicense, "event-"+strconv.Itoa(len(device)), id, "2098-01-01 00:00:00 z", device), want)
			}
		})
	}
}
