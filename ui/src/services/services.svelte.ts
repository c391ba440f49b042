import * as ipc from '../engine/ipc';
import { settings } from '../engine/settings.svelte';
import { aboutService } from '../words/describe';
import type { CheckReport, ServiceStatus } from '../engine/types';
import { nameServices } from '../words/phrases';

/** The services as the engine last told, and what their live checks said. */
class Services {
  #told = $state.raw<ServiceStatus[]>([]);
  /** Every service, in the words of the window's language. */
  readonly all: ServiceStatus[] = $derived(this.#told.map(aboutService));
  /** The last check of each service since the window opened. */
  checks = $state<Record<string, CheckReport | undefined>>({});
  checking = $state<Record<string, boolean>>({});

  set(all: ServiceStatus[]) {
    nameServices(all);
    this.#told = all;
  }

  find(id: string): ServiceStatus | undefined {
    return this.all.find((service) => service.id === id);
  }

  /** Its name for people. */
  name(id: string): string {
    return this.find(id)?.name ?? id;
  }

  /** Those with a card and a place in the side bar: plain links need no setting up. */
  get shown(): ServiceStatus[] {
    return this.all.filter((service) => service.links !== 'any');
  }

  /** The one for any link. */
  get anyLink(): ServiceStatus | undefined {
    return this.all.find((service) => service.links === 'any');
  }

  /** The one inside Ferry, for trying things out: the default until another one is set up. */
  get atFirst(): ServiceStatus | undefined {
    return this.all.find((service) => service.is_at_first);
  }

  /** Those that dropped files can go to right now. */
  get uploading(): ServiceStatus[] {
    return this.shown.filter((service) => service.uploads && service.ready);
  }

  /** Where files go that nobody chose a service for: the default one, or the first that takes uploads. */
  get receiving(): ServiceStatus | undefined {
    const ready = this.uploading;
    return ready.find((service) => service.id === settings.current?.default_service) ?? ready[0];
  }

  /**
   * The service that a request goes to for which nobody chose one. The same for drops, picks and samples, named in each
   * request: what is shown is where it goes.
   */
  get chosen(): string | null {
    return this.receiving?.id ?? settings.current?.default_service ?? null;
  }

  /** How one stands: what its last check found counts as much as what the engine knows. */
  standing(service: ServiceStatus): 'ready' | 'problem' | 'unreached' | 'off' {
    const report = this.checks[service.id];
    if (report?.problem && report.reached_in === null) return 'unreached';
    if (report?.problem ?? service.problem) return 'problem';
    return service.ready ? 'ready' : 'off';
  }

  /** What was checked is no longer there: another address, no key. */
  forget(id: string) {
    this.checks[id] = undefined;
  }

  async check(id: string): Promise<CheckReport> {
    this.checking[id] = true;
    try {
      const report = await ipc.check(id);
      this.checks[id] = report;
      return report;
    } finally {
      this.checking[id] = false;
    }
  }
}

export const services = new Services();
