/* The demo device on Zephyr: an update against storage in RAM. In a real application the ports of demo.c become flash_area_*
 * (storage), PSA crypto, mqtt_* and http_client_req, and MCUboot's boot_request_upgrade in `activate`. */
#include <zephyr/kernel.h>

#include "demo.h"

static void say(const char *line)
{
	printk("%s\n", line);
}

int main(void)
{
	printk(demo_run(say) ? "demo: done\n" : "demo: failed\n");
	return 0;
}
