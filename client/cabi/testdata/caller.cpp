// A caller of the library in C++, for the tests, by licensed.hpp: commands as in caller.c.

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

#include "licensed.hpp"

namespace {

[[noreturn]] void fail(int line, const std::string &what)
{
	std::cerr << "line " << line << ": " << what << std::endl;
	std::exit(1);
}

#define CHECK(condition)                          \
	do {                                          \
		if (!(condition))                         \
			fail(__LINE__, "not so: " #condition); \
	} while (0)

template <typename F> void expect(int line, licensed_code want, F f)
{
	try {
		f();
	} catch (const licensed::Error &e) {
		if (e.code() != want)
			fail(line, "it failed with " + e.reason() + ": " + e.log());
		if (e.reason() != licensed_code_name(want) || std::string(e.what()).empty())
			fail(line, "its texts are not those of its code");
		return;
	}
	if (want != LICENSED_OK)
		fail(line, std::string("it did not fail with ") + licensed_code_name(want));
}

#define EXPECT(want, ...) expect(__LINE__, want, [&] { __VA_ARGS__; })

std::string read_file(const std::string &path)
{
	std::ifstream in(path, std::ios::binary);
	if (!in)
		fail(__LINE__, "cannot read " + path);
	return std::string(std::istreambuf_iterator<char>(in), {});
}

licensed::Options options_in(const std::string &dir)
{
	licensed::Options options;
	options.anchors = read_file(dir + "/anchors.json");
	options.product = "cad-pro";
	return options;
}

void vectors(const std::string &dir)
{
	auto options = options_in(dir);
	options.keys = read_file(dir + "/keys");
	std::istringstream list(read_file(dir + "/list"));
	licensed_code want;
	int phase, n = 0, good = 0;
	std::int64_t now;
	std::string name;
	while (list >> want >> phase >> now >> options.product >> options.issuer >> name) {
		if (options.issuer == "-")
			options.issuer.clear();
		const auto file = read_file(dir + "/" + name);
		EXPECT(want, {
			licensed::License license(options, file);
			const auto status = license.status(now);
			CHECK(phase == 0 || status.phase == phase);
			CHECK(license.json(now).find(options.product) != std::string::npos);
			good++;
		});
		n++;
	}
	std::cout << n << " " << good << std::endl;
}

void features_are_on(const licensed::Guard &guard)
{
	CHECK(guard.feature("export") && guard.feature("projects") && !guard.feature("no such"));
	CHECK(guard.number("projects") == 10.0 && !guard.number("tier"));
	CHECK(guard.text("tier") == std::string("gold \xc2\xb7 \xe9\x87\x91") && !guard.text("export"));
}

void carry(licensed::Guard &guard, const std::string &dir, std::int32_t op, const std::string &code = "")
{
	const auto file = guard.request(op, code);
	CHECK(file == guard.request(op, code));
	std::ofstream(dir + "/request.lic", std::ios::binary) << file;
	std::cout << "request" << std::endl;
	std::string line;
	CHECK(std::getline(std::cin, line) && line == "answered");
	guard.import(read_file(dir + "/answer.lic"));
}

void life(const std::string &dir)
{
	auto options = options_in(dir);
	options.state_dir = dir + "/state";
	licensed::Guard first(options);
	CHECK(!first.status().usable && first.status().reason == LICENSED_ERR_NO_LICENSE && !first.feature("export"));
	EXPECT(LICENSED_ERR_NO_LICENSE, first.file());
	EXPECT(LICENSED_ERR_NO_LICENSE, first.request(LICENSED_OP_REFRESH));
	carry(first, dir, LICENSED_OP_ACTIVATE, "PL0123456789ABCDEF");
	features_are_on(first);

	const auto file = first.file();
	EXPECT(LICENSED_ERR_DAMAGED, first.import(file.substr(0, file.size() / 2)));
	EXPECT(LICENSED_ERR_DAMAGED, first.import(std::string_view()));
	licensed::License license(options, file);
	const auto status = first.status();
	std::string why;
	CHECK(status.usable && status.phase == LICENSED_PHASE_VALID && license.matches(&why) && !why.empty() && license.matches());
	CHECK(license.feature(status.at, "export") && !license.feature(status.block_at, "export"));
	CHECK(license.number(status.at, "projects") == 10.0 && license.text(status.at, "tier") && !license.text(status.at, "export"));

	// Moved, the handle goes along; what it was moved from has none.
	licensed::Guard guard(std::move(first));
	features_are_on(guard);
	EXPECT(LICENSED_ERR_HANDLE, first.status());
	CHECK(!first.feature("export"));
	guard = licensed::Guard(options);
	features_are_on(guard);

	carry(guard, dir, LICENSED_OP_REFRESH);
	carry(guard, dir, LICENSED_OP_TRANSFER, "PL0123456789ABCDEF");
	CHECK(guard.status_json().find("\"usable\":true") != std::string::npos);
	CHECK(guard.explain().find("this is the machine") != std::string::npos);
	carry(guard, dir, LICENSED_OP_DEACTIVATE);
	CHECK(!guard.status().usable && !guard.feature("export"));
	guard.close();
	guard.close();
	EXPECT(LICENSED_ERR_HANDLE, guard.status());
	EXPECT(LICENSED_ERR_HANDLE, guard.text("tier"));
}

void online(const std::string &dir, const std::string &server)
{
	auto options = options_in(dir);
	options.server = server;
	options.flags = LICENSED_IN_MEMORY;
	options.timeout_ms = 20000;
	licensed::Guard guard(options);
	const auto event = guard.next_event(20000);
	CHECK(event && event->kind == LICENSED_EVENT_BLOCKED && event->code == LICENSED_ERR_NO_LICENSE && event->reason == "no_license");
	CHECK(!event->text.empty() && !event->log.empty() && !event->status.usable && !guard.next_event(0));
	EXPECT(LICENSED_ERR_UNKNOWN_CODE, guard.activate("PLFFFFFFFFFFFFFFFF"));
	try {
		guard.activate("PLEEEEEEEEEEEEEEEE");
		fail(__LINE__, "it was let in");
	} catch (const licensed::Error &e) {
		CHECK(e.code() == LICENSED_ERR_RATE_LIMITED && e.retry_after() == 90 && e.what() == std::string("too many attempts"));
	}
	EXPECT(LICENSED_OK, guard.activate("PL0123456789ABCDEF"));
	features_are_on(guard);
	EXPECT(LICENSED_OK, guard.refresh());
	EXPECT(LICENSED_ERR_NOT_FOUND, guard.refresh_status());
	EXPECT(LICENSED_OK, guard.transfer("PL0123456789ABCDEF"));
	EXPECT(LICENSED_OK, guard.deactivate());
	CHECK(!guard.feature("export"));
	options.server = "http://licence.example.com/";
	try {
		licensed::Guard other(options);
		fail(__LINE__, "plain http was taken");
	} catch (const licensed::Error &e) {
		CHECK(e.code() == LICENSED_ERR_BAD_REQUEST && e.field() == "server");
	}
	options.product.clear();
	EXPECT(LICENSED_ERR_ARGUMENT, licensed::Guard other(options));
}

void threads(const std::string &dir)
{
	auto options = options_in(dir);
	options.flags = LICENSED_IN_MEMORY;
	const auto file = read_file(dir + "/anybody.lic");
	licensed::Guard guard(options);
	guard.import(file);
	std::vector<std::thread> all;
	for (int i = 0; i < 8; i++)
		all.emplace_back([&] {
			for (int round = 0; round < 100; round++) {
				features_are_on(guard);
				licensed::License license(options, file);
				EXPECT(LICENSED_ERR_DAMAGED, guard.import("x"));
				CHECK(guard.status().usable);
			}
		});
	for (auto &t : all)
		t.join();
}

} // namespace

int main(int argc, char **argv)
{
	const std::vector<std::string> args(argv + 1, argv + argc);
	try {
		if (args.size() == 2 && args[0] == "vectors")
			vectors(args[1]);
		else if (args.size() == 2 && args[0] == "life")
			life(args[1]);
		else if (args.size() == 3 && args[0] == "online")
			online(args[1], args[2]);
		else if (args.size() == 2 && args[0] == "threads")
			threads(args[1]);
		else
			return 2;
	} catch (const licensed::Error &e) {
		std::cerr << "not caught: " << e.log() << std::endl;
		return 1;
	}
	return 0;
}
