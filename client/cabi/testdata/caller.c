/*
 * A caller of the library in C, for the tests: each command exercises one side of it, and ends with 1 and a line on
 * standard error where something is not as licensed.h says. merchant_test.go is the other side of "life" and "online".
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "licensed.h"

#define CHECK(condition)                                                              \
	do {                                                                              \
		if (!(condition)) {                                                           \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);   \
			exit(1);                                                                  \
		}                                                                             \
	} while (0)

/* expect ends the program unless a call returned what it should, and gives its error back. */
#define EXPECT(want, call)                                                            \
	do {                                                                              \
		licensed_error *error = NULL;                                                 \
		licensed_code got = (call);                                                   \
		expect(__LINE__, #call, want, got, error);                                    \
	} while (0)

/* The same for calls without an error. */
#define EXPECT_CODE(want, call) expect(__LINE__, #call, want, (call), NULL)

static void expect(int line, const char *call, licensed_code want, licensed_code got, licensed_error *error)
{
	if (got != want) {
		fprintf(stderr, "line %d: %s returned %s (%s), not %s\n", line, call, licensed_code_name(got),
			error ? error->log : "no more is said", licensed_code_name(want));
		exit(1);
	}
	CHECK(got != LICENSED_OK || error == NULL);
	if (error != NULL) {
		CHECK(error->size >= sizeof *error && error->code == got && error->reserved == 0);
		CHECK(error->reason && error->detail && error->field && error->log);
		CHECK(strlen(error->detail) > 0 && strlen(error->log) > 0);
		CHECK(got == LICENSED_ERR_OTHER || strcmp(error->reason, licensed_code_name(got)) == 0);
		CHECK((got != LICENSED_ERR_ARGUMENT && got != LICENSED_ERR_BAD_REQUEST) || strlen(error->field) > 0);
		licensed_free(error);
	}
}

static char *read_file(const char *path, size_t *length)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL) {
		perror(path);
		exit(1);
	}
	size_t room = 2u << 20;
	char *data = malloc(room);
	CHECK(data != NULL);
	size_t n = fread(data, 1, room - 1, f);
	CHECK(!ferror(f) && n < room - 1);
	fclose(f);
	data[n] = 0;
	if (length != NULL)
		*length = n;
	return data;
}

static void write_file(const char *path, const char *data, size_t length)
{
	FILE *f = fopen(path, "wb");
	CHECK(f != NULL);
	CHECK(fwrite(data, 1, length, f) == length);
	CHECK(fclose(f) == 0);
}

static char *in_dir(const char *dir, const char *name)
{
	size_t room = strlen(dir) + strlen(name) + 2;
	char *path = malloc(room);
	CHECK(path != NULL);
	snprintf(path, room, "%s/%s", dir, name);
	return path;
}

static char *read_in(const char *dir, const char *name, size_t *length)
{
	char *path = in_dir(dir, name);
	char *data = read_file(path, length);
	free(path);
	return data;
}

static licensed_options options_for(const char *anchors)
{
	licensed_options options = {0};
	options.size = sizeof options;
	options.anchors = anchors;
	options.product = "cad-pro";
	return options;
}

static licensed_status check(licensed_guard guard)
{
	licensed_status status = {0};
	status.size = sizeof status;
	EXPECT_CODE(LICENSED_OK, licensed_check(guard, &status));
	return status;
}

/* vectors DIR: each line of DIR/list names a file and what verifying it must say. */
static void vectors(const char *dir)
{
	char *anchors = read_in(dir, "anchors.json", NULL), *keys = read_in(dir, "keys", NULL);
	char *list = read_in(dir, "list", NULL), *rest = list, *line;
	int n = 0, good = 0;
	while ((line = strtok_r(rest, "\n", &rest)) != NULL) {
		int want, phase;
		int64_t now;
		char product[64], issuer[128], name[64];
		CHECK(sscanf(line, "%d %d %" SCNd64 " %63s %127s %63s", &want, &phase, &now, product, issuer, name) == 6);
		licensed_options options = options_for(anchors);
		options.product = product;
		options.keys = keys;
		options.issuer = strcmp(issuer, "-") == 0 ? NULL : issuer;
		size_t length;
		char *file = read_in(dir, name, &length);
		licensed_license license = 1;
		licensed_error *error = NULL;
		licensed_code got = licensed_verify(&options, file, length, &license, &error);
		if (got != want)
			fprintf(stderr, "%s:\n", name);
		expect(__LINE__, "licensed_verify", want, got, error);
		if (got == LICENSED_OK) {
			good++;
			licensed_status status = {0};
			status.size = sizeof status;
			EXPECT_CODE(LICENSED_OK, licensed_license_check(license, now, &status));
			CHECK(phase == 0 || status.phase == phase);
			CHECK(status.at == now && status.clock == 0);
			char *text = NULL;
			EXPECT(LICENSED_OK, licensed_license_json(license, now, &text, &error));
			CHECK(text[0] == '{' && strstr(text, product) != NULL);
			licensed_free(text);
			EXPECT_CODE(LICENSED_OK, licensed_close(license));
		} else {
			CHECK(license == 0);
		}
		free(file);
		n++;
	}
	printf("%d %d\n", n, good);
	free(list);
	free(keys);
	free(anchors);
}

static void features_are_on(licensed_guard guard)
{
	int32_t on = -1;
	double number = -1;
	char *text = NULL;
	size_t length = 0;
	EXPECT_CODE(LICENSED_OK, licensed_feature(guard, "export", &on));
	CHECK(on == 1);
	EXPECT_CODE(LICENSED_OK, licensed_feature(guard, "projects", &on));
	CHECK(on == 1);
	EXPECT_CODE(LICENSED_OK, licensed_feature(guard, "no such", &on));
	CHECK(on == 0);
	EXPECT_CODE(LICENSED_OK, licensed_feature_number(guard, "projects", &number));
	CHECK(number == 10);
	EXPECT_CODE(LICENSED_ERR_NO_VALUE, licensed_feature_number(guard, "tier", &number));
	CHECK(number == 0);
	EXPECT(LICENSED_OK, licensed_feature_text(guard, "tier", &text, &length, &error));
	CHECK(strcmp(text, "gold \xc2\xb7 \xe9\x87\x91") == 0 && length == strlen(text));
	licensed_free(text);
	EXPECT(LICENSED_ERR_NO_VALUE, licensed_feature_text(guard, "export", &text, &length, &error));
	CHECK(text == NULL && length == 0);
}

static void features_are_off(licensed_guard guard)
{
	int32_t on = -1;
	EXPECT_CODE(LICENSED_OK, licensed_feature(guard, "export", &on));
	CHECK(on == 0);
}

/* carry hands a request file to the other side and imports the answer. */
static void carry(licensed_guard guard, const char *dir, int32_t op, const char *code, const char *from, licensed_code want)
{
	char *file = NULL, *again = NULL;
	size_t length = 0;
	EXPECT(LICENSED_OK, licensed_request(guard, op, code, from, &file, &length, &error));
	EXPECT(LICENSED_OK, licensed_request(guard, op, code, from, &again, NULL, &error));
	CHECK(length == strlen(file) && strcmp(file, again) == 0);
	licensed_free(again);
	char *request = in_dir(dir, "request.lic"), *answer = in_dir(dir, "answer.lic"), line[16];
	write_file(request, file, length);
	licensed_free(file);
	printf("request\n");
	fflush(stdout);
	CHECK(fgets(line, sizeof line, stdin) != NULL && strcmp(line, "answered\n") == 0);
	file = read_file(answer, &length);
	EXPECT(want, licensed_import(guard, file, length, &error));
	free(file);
	free(request);
	free(answer);
}

/* life DIR: an install without a network, from its activation to its end. */
static void life(const char *dir)
{
	char *anchors = read_in(dir, "anchors.json", NULL), *state = in_dir(dir, "state");
	licensed_options options = options_for(anchors);
	options.state_dir = state;
	options.build_time = 1700000000;
	licensed_guard guard = 0;
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	licensed_status status = check(guard);
	CHECK(!status.usable && status.reason == LICENSED_ERR_NO_LICENSE && status.phase == LICENSED_PHASE_BLOCKED);
	CHECK(status.state == LICENSED_STATE_NONE && status.expires_at == 0 && status.at > 1700000000);
	features_are_off(guard);
	char *text = NULL;
	size_t length = 1;
	EXPECT(LICENSED_ERR_NO_LICENSE, licensed_file(guard, &text, &length, &error));
	CHECK(text == NULL && length == 0);
	EXPECT(LICENSED_ERR_NO_LICENSE, licensed_request(guard, LICENSED_OP_REFRESH, NULL, NULL, &text, NULL, &error));

	carry(guard, dir, LICENSED_OP_ACTIVATE, "PL0123456789ABCDEF", NULL, LICENSED_OK);
	status = check(guard);
	CHECK(status.usable && status.reason == LICENSED_OK && status.phase == LICENSED_PHASE_VALID);
	CHECK(status.state == LICENSED_STATE_ACTIVE && status.enforcement == LICENSED_ENFORCE_BLOCK && status.clock == LICENSED_CLOCK_OK);
	CHECK(status.not_before <= status.at && status.at < status.warn_at && status.warn_at <= status.expires_at);
	CHECK(status.expires_at <= status.block_at && status.block_at < LICENSED_FOREVER);
	CHECK(status.refresh_after > status.at && status.lease_until > status.refresh_after && !status.refresh_due);
	features_are_on(guard);

	/* What is held is still held after a file that is none, or not whole. */
	EXPECT(LICENSED_OK, licensed_file(guard, &text, &length, &error));
	CHECK(length == strlen(text));
	EXPECT(LICENSED_ERR_DAMAGED, licensed_import(guard, text, length / 2, &error));
	EXPECT(LICENSED_ERR_DAMAGED, licensed_import(guard, "no licence", 10, &error));
	features_are_on(guard);

	/* The same file by the verifier alone. */
	licensed_license license = 0;
	int32_t matches = -1, on = -1;
	double number = -1;
	EXPECT(LICENSED_OK, licensed_verify(&options, text, length, &license, &error));
	licensed_free(text);
	EXPECT(LICENSED_OK, licensed_license_explain(license, &matches, &text, &error));
	CHECK(matches == 1 && strstr(text, "this is the machine") != NULL);
	licensed_free(text);
	EXPECT(LICENSED_OK, licensed_license_explain(license, &matches, NULL, &error));
	EXPECT_CODE(LICENSED_OK, licensed_license_feature(license, status.at, "export", &on));
	CHECK(on == 1);
	EXPECT_CODE(LICENSED_OK, licensed_license_feature_number(license, status.at, "projects", &number));
	CHECK(number == 10);
	EXPECT(LICENSED_OK, licensed_license_feature_text(license, status.at, "tier", &text, NULL, &error));
	licensed_free(text);
	EXPECT_CODE(LICENSED_OK, licensed_license_feature(license, status.block_at, "export", &on));
	CHECK(on == 0);
	EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_check(license, &status));
	EXPECT_CODE(LICENSED_OK, licensed_close(license));

	/* It is there after a restart. */
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	features_are_on(guard);

	carry(guard, dir, LICENSED_OP_REFRESH, NULL, NULL, LICENSED_OK);
	carry(guard, dir, LICENSED_OP_TRANSFER, "PL0123456789ABCDEF", NULL, LICENSED_OK);
	features_are_on(guard);
	EXPECT(LICENSED_OK, licensed_status_json(guard, &text, &error));
	CHECK(strstr(text, "\"usable\":true") != NULL && strstr(text, "\"license_id\":\"lic_1\"") != NULL && strstr(text, "\"warnings\":[]") != NULL);
	licensed_free(text);
	EXPECT(LICENSED_OK, licensed_explain(guard, &text, &error));
	CHECK(strstr(text, "this is the machine") != NULL);
	licensed_free(text);

	carry(guard, dir, LICENSED_OP_DEACTIVATE, NULL, NULL, LICENSED_OK);
	status = check(guard);
	CHECK(!status.usable && status.reason == LICENSED_ERR_NO_LICENSE);
	features_are_off(guard);
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	free(state);
	free(anchors);
}

/* event takes the next event but those of calling home, and ends the program unless it is the one that is meant. */
static void event(licensed_guard guard, int32_t kind, licensed_code code, int32_t usable)
{
	licensed_event *event = NULL;
	licensed_status status = {0};
	status.size = sizeof status;
	for (;;) {
		EXPECT(LICENSED_OK, licensed_next_event(guard, 20000, &event, &status, &error));
		if (event->kind != LICENSED_EVENT_TROUBLE && event->kind != LICENSED_EVENT_REACHED)
			break;
		licensed_free(event);
	}
	if (event->kind != kind || event->code != code || status.usable != usable)
		fprintf(stderr, "event %d (%s): %s\n", event->kind, event->reason, event->text);
	CHECK(event->kind == kind && event->code == code && status.usable == usable);
	CHECK(event->size >= sizeof *event && event->missed == 0 && event->at == status.at && strlen(event->text) > 0);
	CHECK(strcmp(event->reason, code ? licensed_code_name(code) : "") == 0 && (code == LICENSED_OK) == (strlen(event->log) == 0));
	licensed_free(event);
}

static void no_event(licensed_guard guard)
{
	licensed_event *event = NULL;
	EXPECT(LICENSED_ERR_TIMEOUT, licensed_next_event(guard, 0, &event, NULL, &error));
	CHECK(event == NULL);
}

/* online DIR URL: the same by a server. */
static void online(const char *dir, const char *server)
{
	char *anchors = read_in(dir, "anchors.json", NULL);
	licensed_options options = options_for(anchors);
	options.server = server;
	options.flags = LICENSED_IN_MEMORY;
	options.timeout_ms = 20000;
	licensed_guard guard = 0;
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	event(guard, LICENSED_EVENT_BLOCKED, LICENSED_ERR_NO_LICENSE, 0);
	no_event(guard);
	EXPECT(LICENSED_ERR_NO_LICENSE, licensed_refresh(guard, &error));
	EXPECT(LICENSED_ERR_UNKNOWN_CODE, licensed_activate(guard, "PLFFFFFFFFFFFFFFFF", &error));
	licensed_error *limited = NULL;
	CHECK(licensed_activate(guard, "PLEEEEEEEEEEEEEEEE", &limited) == LICENSED_ERR_RATE_LIMITED && limited->retry_after == 90);
	CHECK(strcmp(limited->detail, "too many attempts") == 0);
	licensed_free(limited);
	EXPECT(LICENSED_ERR_BAD_REQUEST, licensed_activate(guard, NULL, &error));
	EXPECT(LICENSED_OK, licensed_activate(guard, "PL0123456789ABCDEF", &error));
	features_are_on(guard);
	event(guard, LICENSED_EVENT_LICENSE, LICENSED_OK, 1);
	event(guard, LICENSED_EVENT_RESTORED, LICENSED_OK, 1);
	EXPECT(LICENSED_OK, licensed_refresh(guard, &error));
	EXPECT(LICENSED_ERR_NOT_FOUND, licensed_refresh_status(guard, &error));
	EXPECT(LICENSED_OK, licensed_transfer(guard, "PL0123456789ABCDEF", NULL, &error));
	features_are_on(guard);
	EXPECT(LICENSED_OK, licensed_deactivate(guard, &error));
	features_are_off(guard);
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));

	options.server = "http://127.0.0.1:1/";
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	EXPECT(LICENSED_ERR_UNREACHABLE, licensed_activate(guard, "PL0123456789ABCDEF", &error));
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	options.server = "http://licence.example.com/";
	EXPECT(LICENSED_ERR_BAD_REQUEST, licensed_open(&options, &guard, &error));
	free(anchors);
}

static void *wait_for_events(void *guard)
{
	licensed_event *event = NULL;
	licensed_error *error = NULL;
	licensed_code code;
	while ((code = licensed_next_event(*(licensed_guard *)guard, -1, &event, NULL, &error)) == LICENSED_OK)
		licensed_free(event);
	/* It may not have come to the call yet when the guard is closed. */
	expect(__LINE__, "licensed_next_event", code == LICENSED_ERR_HANDLE ? code : LICENSED_ERR_CLOSED, code, error);
	return NULL;
}

static void *wait_for_answer(void *guard)
{
	licensed_error *error = NULL;
	licensed_code code = licensed_activate(*(licensed_guard *)guard, "PL0123456789ABCDEF", &error);
	expect(__LINE__, "licensed_activate", LICENSED_ERR_CLOSED, code, error);
	return NULL;
}

/* hang DIR URL: a server that does not answer; closing ends the call. It prints "waiting", and is told when the call has arrived. */
static void hang(const char *dir, const char *server)
{
	char *anchors = read_in(dir, "anchors.json", NULL), line[16];
	licensed_options options = options_for(anchors);
	options.server = server;
	options.flags = LICENSED_IN_MEMORY;
	licensed_guard guard = 0;
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	pthread_t thread, other;
	CHECK(pthread_create(&thread, NULL, wait_for_answer, &guard) == 0);
	CHECK(fgets(line, sizeof line, stdin) != NULL);
	features_are_off(guard);
	event(guard, LICENSED_EVENT_BLOCKED, LICENSED_ERR_NO_LICENSE, 0);
	CHECK(pthread_create(&other, NULL, wait_for_events, &guard) == 0);
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	CHECK(pthread_join(thread, NULL) == 0 && pthread_join(other, NULL) == 0);

	options.timeout_ms = 50;
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	EXPECT(LICENSED_ERR_UNREACHABLE, licensed_activate(guard, "PL0123456789ABCDEF", &error));
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	free(anchors);
}

/* bad_handle calls everything with a handle that stands for nothing, or for the other kind of thing. */
static void bad_handle(uint64_t handle, int guard_too, int license_too)
{
	licensed_status status = {0};
	status.size = sizeof status;
	int32_t on = 7;
	double number = 7;
	char *text = NULL;
	size_t length = 7;
	if (guard_too) {
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_check(handle, &status));
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_feature(handle, "export", &on));
		CHECK(on == 0);
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_feature_number(handle, "export", &number));
		CHECK(number == 0);
		EXPECT(LICENSED_ERR_HANDLE, licensed_feature_text(handle, "export", &text, &length, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_status_json(handle, &text, &error));
		licensed_event *event = NULL;
		EXPECT(LICENSED_ERR_HANDLE, licensed_next_event(handle, -1, &event, NULL, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_explain(handle, &text, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_file(handle, &text, &length, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_request(handle, LICENSED_OP_ACTIVATE, NULL, NULL, &text, &length, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_import(handle, "x", 1, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_activate(handle, "x", &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_refresh(handle, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_refresh_status(handle, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_transfer(handle, "x", "y", &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_deactivate(handle, &error));
	}
	if (license_too) {
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_license_check(handle, 0, &status));
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_license_feature(handle, 0, "export", &on));
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_license_feature_number(handle, 0, "export", &number));
		EXPECT(LICENSED_ERR_HANDLE, licensed_license_feature_text(handle, 0, "export", &text, &length, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_license_json(handle, 0, &text, &error));
		EXPECT(LICENSED_ERR_HANDLE, licensed_license_explain(handle, &on, &text, &error));
	}
	if (guard_too && license_too)
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_close(handle));
	CHECK(text == NULL && on != 1);
}

/* bad_arguments calls what takes a handle with arguments that cannot be. */
static void bad_arguments(licensed_guard guard, licensed_license license, const char *endless)
{
	licensed_status status = {0};
	int32_t on = 7;
	double number = 7;
	char *text = NULL;
	size_t sizes[] = {0, 1, sizeof status - 1, 5000, (size_t)-1};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		status.size = sizes[i];
		EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_check(guard, &status));
		EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_license_check(license, 0, &status));
		CHECK(status.size == sizes[i] && status.usable == 0);
		licensed_event *event = NULL;
		EXPECT(LICENSED_ERR_ARGUMENT, licensed_next_event(guard, 0, &event, &status, &error));
	}
	EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_check(guard, NULL));
	EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_license_check(license, 0, NULL));
	const char *names[] = {NULL, endless};
	for (size_t i = 0; i < 2; i++) {
		EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_feature(guard, names[i], &on));
		EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_feature_number(guard, names[i], &number));
		EXPECT(LICENSED_ERR_ARGUMENT, licensed_feature_text(guard, names[i], &text, NULL, &error));
		EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_license_feature(license, 0, names[i], &on));
		EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_license_feature_number(license, 0, names[i], &number));
		EXPECT(LICENSED_ERR_ARGUMENT, licensed_license_feature_text(license, 0, names[i], &text, NULL, &error));
	}
	CHECK(on == 0 && number == 0 && text == NULL);
	EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_feature(guard, "export", NULL));
	EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_feature_number(guard, "export", NULL));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_feature_text(guard, "export", NULL, NULL, &error));
	EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_license_feature(license, 0, "export", NULL));
	EXPECT_CODE(LICENSED_ERR_ARGUMENT, licensed_license_feature_number(license, 0, "export", NULL));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_license_feature_text(license, 0, "export", NULL, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_status_json(guard, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_next_event(guard, 0, NULL, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_explain(guard, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_file(guard, NULL, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_license_json(license, 0, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_license_explain(license, NULL, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_request(guard, LICENSED_OP_ACTIVATE, NULL, NULL, NULL, NULL, &error));
	int32_t ops[] = {0, 5, -1, INT32_MAX, INT32_MIN};
	for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
		EXPECT(LICENSED_ERR_ARGUMENT, licensed_request(guard, ops[i], NULL, NULL, &text, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_request(guard, LICENSED_OP_ACTIVATE, endless, NULL, &text, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_request(guard, LICENSED_OP_TRANSFER, NULL, "\xff", &text, NULL, &error));
	EXPECT(LICENSED_ERR_BAD_REQUEST, licensed_request(guard, LICENSED_OP_ACTIVATE, NULL, "from", &text, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_import(guard, NULL, 0, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_import(guard, NULL, 10, &error));
	EXPECT(LICENSED_ERR_DAMAGED, licensed_import(guard, "", 0, &error));
	EXPECT(LICENSED_ERR_DAMAGED, licensed_import(guard, "x", (size_t)-1, &error));
	EXPECT(LICENSED_ERR_DAMAGED, licensed_import(guard, "x", (size_t)1 << 31, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_activate(guard, endless, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_activate(guard, "\xc3\x28", &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_transfer(guard, endless, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_transfer(guard, NULL, endless, &error));
	EXPECT(LICENSED_ERR_BAD_REQUEST, licensed_activate(guard, "PL0123456789ABCDEF", &error)); /* there is no server */
	int64_t instants[] = {0, -1, INT64_MIN, INT64_MAX, LICENSED_FOREVER};
	for (size_t i = 0; i < sizeof instants / sizeof *instants; i++) {
		status.size = sizeof status;
		EXPECT_CODE(LICENSED_OK, licensed_license_check(license, instants[i], &status));
		CHECK(!status.usable && status.phase == LICENSED_PHASE_BLOCKED);
		CHECK(status.reason == (instants[i] <= 0 ? LICENSED_ERR_NOT_YET_VALID : LICENSED_ERR_EXPIRED) || status.reason == LICENSED_ERR_LEASE_OVER);
	}

	/* A caller that does not want the error need not take it. */
	CHECK(licensed_import(guard, NULL, 0, NULL) == LICENSED_ERR_ARGUMENT);
	CHECK(licensed_request(guard, 0, NULL, NULL, &text, NULL, NULL) == LICENSED_ERR_ARGUMENT);
	CHECK(licensed_open(NULL, NULL, NULL) == LICENSED_ERR_ARGUMENT);
	CHECK(licensed_verify(NULL, NULL, 0, NULL, NULL) == LICENSED_ERR_ARGUMENT);
}

/* bad_options opens and verifies with options that cannot be. */
static void bad_options(const char *anchors, const char *endless, const char *file, size_t length)
{
	static const struct {
		const char *what, *anchors, *product, *server, *instance, *keys;
		size_t size;
		int64_t timeout_ms, build_time;
		uint32_t flags, reserved;
		licensed_code want;
	} table[] = {
		{.what = "no anchors", .anchors = "", .want = LICENSED_ERR_ARGUMENT},
		{.what = "anchors that are none", .anchors = "{}", .want = LICENSED_ERR_DAMAGED},
		{.what = "no product", .product = "", .want = LICENSED_ERR_ARGUMENT},
		{.what = "no address", .server = "licence.example.com", .want = LICENSED_ERR_BAD_REQUEST},
		{.what = "no name", .instance = "a\nb", .want = LICENSED_ERR_BAD_REQUEST},
		{.what = "no key set", .keys = "x", .want = LICENSED_ERR_DAMAGED},
		{.what = "no UTF-8", .product = "\xff\xfe", .want = LICENSED_ERR_ARGUMENT},
		{.what = "size 1", .size = 1, .want = LICENSED_ERR_ARGUMENT},
		{.what = "one byte short", .size = sizeof(licensed_options) - 1, .want = LICENSED_ERR_ARGUMENT},
		{.what = "a size that cannot be", .size = (size_t)-1, .want = LICENSED_ERR_ARGUMENT},
		{.what = "a negative timeout", .timeout_ms = -1, .want = LICENSED_ERR_ARGUMENT},
		{.what = "an endless timeout", .timeout_ms = INT64_MAX, .want = LICENSED_ERR_ARGUMENT},
		{.what = "built before there were computers", .build_time = -1, .want = LICENSED_ERR_BAD_REQUEST},
		{.what = "built at no time", .build_time = INT64_MAX, .want = LICENSED_ERR_BAD_REQUEST},
		{.what = "a flag that is not known", .flags = 1u << 31, .want = LICENSED_ERR_ARGUMENT},
		{.what = "reserved", .reserved = 1, .want = LICENSED_ERR_ARGUMENT},
	};
	licensed_guard guard = 7;
	licensed_license license = 7;
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		licensed_options options = options_for(anchors);
		options.flags = LICENSED_IN_MEMORY | table[i].flags;
		options.anchors = table[i].anchors ? table[i].anchors : anchors;
		options.product = table[i].product ? table[i].product : "cad-pro";
		options.server = table[i].server;
		options.instance = table[i].instance;
		options.keys = table[i].keys;
		options.timeout_ms = table[i].timeout_ms;
		options.build_time = table[i].build_time;
		options.reserved = table[i].reserved;
		options.size = table[i].size ? table[i].size : sizeof options;
		licensed_error *error = NULL;
		licensed_code got = licensed_open(&options, &guard, &error);
		if (got != table[i].want)
			fprintf(stderr, "%s:\n", table[i].what);
		expect(__LINE__, "licensed_open", table[i].want, got, error);
		CHECK(guard == 0);
	}
	licensed_options options = options_for(anchors);
	options.flags = LICENSED_IN_MEMORY | LICENSED_MANUAL;
	options.server = "https://127.0.0.1:1";
	options.ca_file = "no such file.pem";
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	licensed_error *named = NULL;
	CHECK(licensed_activate(guard, "PL0123456789ABCDEF", &named) == LICENSED_ERR_UNREACHABLE);
	CHECK(named != NULL && strcmp(named->field, "ca_file") == 0);
	licensed_free(named);
	EXPECT(LICENSED_OK, licensed_close(guard));
	options = options_for(anchors);
	options.size = 0;
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_verify(&options, file, length, &license, &error));
	options = options_for(endless);
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_open(&options, &guard, &error));
	options = options_for(NULL);
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_open(&options, &guard, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_open(NULL, &guard, &error));
	options = options_for(anchors);
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_open(&options, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_verify(&options, file, length, NULL, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_verify(NULL, file, length, &license, &error));
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_verify(&options, NULL, length, &license, &error));
	EXPECT(LICENSED_ERR_DAMAGED, licensed_verify(&options, file, (size_t)-1, &license, &error));
	for (size_t n = 0; n < length; n += 1 + length / 97)
		EXPECT(LICENSED_ERR_DAMAGED, licensed_verify(&options, file, n, &license, &error));
	CHECK(license == 0);
	options.keys = file; /* what is no key set does not count as one */
	EXPECT(LICENSED_ERR_DAMAGED, licensed_verify(&options, file, length, &license, &error));

	/* Options and a status of a program that is newer than the library. */
	struct {
		licensed_options known;
		char rest[64];
	} newer = {options_for(anchors), {0}};
	newer.known.size = sizeof newer;
	newer.known.flags = LICENSED_IN_MEMORY;
	EXPECT(LICENSED_OK, licensed_open(&newer.known, &guard, &error));
	struct {
		licensed_status known;
		char rest[64];
	} status;
	memset(&status, 0xee, sizeof status);
	status.known.size = sizeof status;
	EXPECT_CODE(LICENSED_OK, licensed_check(guard, &status.known));
	CHECK(status.known.size == sizeof status && status.known.usable == 0 && status.rest[0] == 0 && status.rest[63] == 0);
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	newer.rest[63] = 1;
	EXPECT(LICENSED_ERR_ARGUMENT, licensed_open(&newer.known, &guard, &error));
}

/* table DIR: everything that can be wrong with an argument. DIR has a licence file that any machine may use. */
static void table(const char *dir)
{
	size_t length;
	char *anchors = read_in(dir, "anchors.json", NULL), *file = read_in(dir, "anybody.lic", &length);
	char *endless = malloc((64u << 10) + 2);
	CHECK(endless != NULL);
	memset(endless, 'x', (64u << 10) + 1);
	endless[(64u << 10) + 1] = 0;

	licensed_options options = options_for(anchors);
	options.flags = LICENSED_IN_MEMORY;
	licensed_guard guard = 0;
	licensed_license license = 0;
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	EXPECT(LICENSED_OK, licensed_verify(&options, file, length, &license, &error));
	CHECK(guard != 0 && license != 0 && guard != license);

	uint64_t made_up[] = {0, 1, 2, UINT64_MAX, guard ^ 1, license + 1};
	for (size_t i = 0; i < sizeof made_up / sizeof *made_up; i++)
		bad_handle(made_up[i], 1, 1);
	bad_handle(guard, 0, 1);
	bad_handle(license, 1, 0);
	bad_arguments(guard, license, endless);
	bad_options(anchors, endless, file, length);

	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	EXPECT_CODE(LICENSED_OK, licensed_close(license));
	bad_handle(guard, 1, 1);
	bad_handle(license, 1, 1);

	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_close(guard));
	licensed_free(NULL);
	free(endless);
	free(file);
	free(anchors);
}

struct shared {
	const char *anchors, *file;
	size_t length;
	licensed_guard guard;
};

enum { ROUNDS = 60 };

/* user is one of many threads: it asks a guard that all share, and opens and closes its own. */
static void *user(void *argument)
{
	struct shared *s = argument;
	licensed_options options = options_for(s->anchors);
	options.flags = LICENSED_IN_MEMORY;
	for (int i = 0; i < ROUNDS; i++) {
		features_are_on(s->guard);
		licensed_status status = check(s->guard);
		CHECK(status.usable);
		licensed_license license = 0;
		EXPECT(LICENSED_OK, licensed_verify(&options, s->file, s->length, &license, &error));
		EXPECT_CODE(LICENSED_OK, licensed_close(license));
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_close(license));
		EXPECT(LICENSED_ERR_DAMAGED, licensed_import(s->guard, "x", 1, &error));
		if (i % 20 == 0) {
			licensed_guard own = 0;
			char *text = NULL;
			EXPECT(LICENSED_OK, licensed_open(&options, &own, &error));
			EXPECT(LICENSED_ERR_BAD_REQUEST, licensed_activate(own, "PL0123456789ABCDEF", &error)); /* no server */
			EXPECT(LICENSED_OK, licensed_status_json(own, &text, &error));
			licensed_free(text);
			EXPECT_CODE(LICENSED_OK, licensed_close(own));
		}
	}
	return NULL;
}

/* closing closes one guard from many threads at once while others use it: one of them has closed it. */
static void *closing(void *guard)
{
	int32_t on;
	for (int i = 0; i < 50; i++) {
		licensed_code code = licensed_feature(*(licensed_guard *)guard, "export", &on);
		CHECK(code == LICENSED_OK || code == LICENSED_ERR_HANDLE);
	}
	return licensed_close(*(licensed_guard *)guard) == LICENSED_OK ? guard : NULL;
}

static void threads(const char *dir)
{
	enum { THREADS = 16 };
	struct shared s = {0};
	char *anchors = read_in(dir, "anchors.json", NULL), *file = read_in(dir, "anybody.lic", &s.length);
	s.anchors = anchors;
	s.file = file;
	licensed_options options = options_for(anchors);
	options.flags = LICENSED_IN_MEMORY;
	EXPECT(LICENSED_OK, licensed_open(&options, &s.guard, &error));
	EXPECT(LICENSED_OK, licensed_import(s.guard, s.file, s.length, &error));
	pthread_t thread[THREADS];
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, user, &s) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	for (int round = 0; round < 20; round++) {
		int closed = 0;
		licensed_guard guard = s.guard;
		if (round > 0)
			EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
		for (int i = 0; i < THREADS; i++)
			CHECK(pthread_create(&thread[i], NULL, closing, &guard) == 0);
		for (int i = 0; i < THREADS; i++) {
			void *did;
			CHECK(pthread_join(thread[i], &did) == 0);
			closed += did != NULL;
		}
		CHECK(closed == 1);
	}
	free(file);
	free(anchors);
}

/* resident is how much memory the process has, in KiB. */
static long resident(void)
{
	long pages;
	FILE *f = fopen("/proc/self/statm", "r");
	CHECK(f != NULL && fscanf(f, "%*d %ld", &pages) == 1);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* descriptors is the next file descriptor that is free. */
static int descriptors(void)
{
	int fd = dup(0);
	CHECK(fd >= 0);
	close(fd);
	return fd;
}

static void round_trip(const licensed_options *options, const char *file, size_t length, int times)
{
	for (int i = 0; i < times; i++) {
		licensed_guard guard = 0;
		licensed_license license = 0;
		char *text = NULL;
		EXPECT(LICENSED_OK, licensed_open(options, &guard, &error));
		EXPECT(LICENSED_OK, licensed_import(guard, file, length, &error));
		features_are_on(guard);
		EXPECT(LICENSED_OK, licensed_status_json(guard, &text, &error));
		licensed_free(text);
		EXPECT(LICENSED_OK, licensed_verify(options, file, length, &license, &error));
		EXPECT(LICENSED_ERR_DAMAGED, licensed_verify(options, file, length / 3, &license, &error));
		EXPECT_CODE(LICENSED_ERR_HANDLE, licensed_close(license));
		EXPECT(LICENSED_OK, licensed_verify(options, file, length, &license, &error));
		EXPECT_CODE(LICENSED_OK, licensed_close(license));
		EXPECT(LICENSED_OK, licensed_verify(options, file, length, &license, &error));
		EXPECT_CODE(LICENSED_OK, licensed_close(license));
		EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	}
}

/* loops DIR: opening and closing leaves nothing behind. */
static void loops(const char *dir)
{
	size_t length;
	char *anchors = read_in(dir, "anchors.json", NULL), *file = read_in(dir, "anybody.lic", &length), *state = in_dir(dir, "state");
	licensed_options options = options_for(anchors);
	options.state_dir = state;
	round_trip(&options, file, length, 100);
	long before = resident();
	int fds = descriptors();
	round_trip(&options, file, length, 400);
	long after = resident();
	CHECK(descriptors() == fds);
	printf("%ld %ld\n", before, after);
	free(state);
	free(file);
	free(anchors);
}

/* forked DIR: a child is told that it cannot use the library; the parent goes on. */
static void forked(const char *dir)
{
	char *anchors = read_in(dir, "anchors.json", NULL);
	licensed_options options = options_for(anchors);
	options.flags = LICENSED_IN_MEMORY;
	licensed_guard guard = 0;
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		int32_t on;
		licensed_guard other = 0;
		licensed_error *error = NULL;
		int right = licensed_feature(guard, "export", &on) == LICENSED_ERR_FORKED &&
			licensed_open(&options, &other, &error) == LICENSED_ERR_FORKED && error == NULL &&
			licensed_close(guard) == LICENSED_ERR_FORKED && licensed_version()[0] == 0;
		_exit(right ? 0 : 1);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	features_are_off(guard);
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	free(anchors);
}

/* seconds of processor time, so that what else the machine does counts little. */
static double seconds(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* measure DIR: what a call takes, for docs/c-library.md. */
static void measure(const char *dir)
{
	enum { CALLS = 1000000, OPENINGS = 200 };
	size_t length;
	char *anchors = read_in(dir, "anchors.json", NULL), *file = read_in(dir, "anybody.lic", &length);
	licensed_options options = options_for(anchors);
	options.flags = LICENSED_IN_MEMORY;
	licensed_guard guard = 0;
	licensed_license license = 0;
	EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
	EXPECT(LICENSED_OK, licensed_import(guard, file, length, &error));
	int32_t on;
	double start = seconds();
	for (int i = 0; i < CALLS; i++)
		licensed_feature(guard, "export", &on);
	printf("feature %.0f ns\n", (seconds() - start) / CALLS * 1e9);
	licensed_status status = {0};
	status.size = sizeof status;
	start = seconds();
	for (int i = 0; i < CALLS; i++)
		licensed_check(guard, &status);
	printf("check %.0f ns\n", (seconds() - start) / CALLS * 1e9);
	start = seconds();
	for (int i = 0; i < OPENINGS; i++) {
		EXPECT(LICENSED_OK, licensed_verify(&options, file, length, &license, &error));
		EXPECT_CODE(LICENSED_OK, licensed_close(license));
	}
	printf("verify and close %.0f us\n", (seconds() - start) / OPENINGS * 1e6);
	EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	start = seconds();
	for (int i = 0; i < OPENINGS; i++) {
		EXPECT(LICENSED_OK, licensed_open(&options, &guard, &error));
		EXPECT_CODE(LICENSED_OK, licensed_close(guard));
	}
	printf("open and close %.0f us\n", (seconds() - start) / OPENINGS * 1e6);
	printf("resident %ld KiB\n", resident());
	free(file);
	free(anchors);
}

/* codes: the name of each number that has one. */
static void codes(void)
{
	for (licensed_code code = -1; code < 1000; code++)
		if (strcmp(licensed_code_name(code), "unknown") != 0)
			printf("%d %s\n", (int)code, licensed_code_name(code));
}

int main(int argc, char **argv)
{
	CHECK(licensed_abi_version() == ((uint32_t)LICENSED_ABI_MAJOR << 16 | LICENSED_ABI_MINOR));
	CHECK(strlen(licensed_version()) > 0);
	const char *command = argc > 1 ? argv[1] : "";
	if (strcmp(command, "codes") == 0)
		codes();
	else if (argc == 3 && strcmp(command, "vectors") == 0)
		vectors(argv[2]);
	else if (argc == 3 && strcmp(command, "life") == 0)
		life(argv[2]);
	else if (argc == 4 && strcmp(command, "online") == 0)
		online(argv[2], argv[3]);
	else if (argc == 4 && strcmp(command, "hang") == 0)
		hang(argv[2], argv[3]);
	else if (argc == 3 && strcmp(command, "table") == 0)
		table(argv[2]);
	else if (argc == 3 && strcmp(command, "threads") == 0)
		threads(argv[2]);
	else if (argc == 3 && strcmp(command, "loops") == 0)
		loops(argv[2]);
	else if (argc == 3 && strcmp(command, "forked") == 0)
		forked(argv[2]);
	else if (argc == 3 && strcmp(command, "measure") == 0)
		measure(argv[2]);
	else {
		fprintf(stderr, "usage: caller COMMAND DIR [URL]\n");
		return 2;
	}
	return 0;
}
